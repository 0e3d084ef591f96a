/**
 * The table of devices: who was seen when, and who is silent.
 *
 *   connection -> Track, a number a message -> once a second -> Device in the DeviceTable -> file
 *                   |
 *                   +-- Silence: records in the stream, state in the spool
 *
 * Per message it costs a number and a comparison (track.ts); all else is done once a second for
 * the connections that sent something. Bounded by `devices.maxDevices`. It never keeps a gateway
 * from starting (I7), and delays no commit. Not here: who may connect, which is the broker's.
 */
import type { Appender } from '../ports/appender.ts'
import type {
  DeviceLog,
  DevicePage,
  DeviceQuery,
  DeviceTrack,
  TakenTopic,
} from '../ports/devices.ts'
import { DurableTickets } from '../ports/durable-tickets.ts'
import type { DevicesConfig } from './config.ts'
import type { Device } from './device.ts'
import type { EmitDevicesEvent } from './events.ts'
import { listDevices } from './listing.ts'
import { Silence, STEP_MS } from './silence.ts'
import type { DeviceStats } from './stats.ts'
import { DeviceTable } from './table.ts'
import { TableFile } from './table-file.ts'
import { Track, type TrackHost } from './track.ts'

/** The most that one step counts: in a longer one the process stood still, and heard nobody. */
const MAX_STEP_MS = 5_000
/** How often the table goes to disk, if it has changed. */
const WRITE_INTERVAL_MS = 60_000
/** Longer ids are of no device: they would make the table's memory unbounded. */
const MAX_ID_LENGTH = 512
/** Of what was refused, in words. */
const MAX_DETAIL_LENGTH = 256

export interface DevicesOptions {
  readonly config: DevicesConfig
  readonly appender: Pick<
    Appender,
    'accepts' | 'append' | 'durableTicket' | 'keyed' | 'onDurable' | 'streams'
  >
  /** By the names of the streams that want to know of silence, ms. */
  readonly silentAfterMs: ReadonlyMap<string, number>
  /** Where the table is kept. */
  readonly path: string
  readonly emit: EmitDevicesEvent
  /** Wall clock, ms since the epoch. @default Date.now */
  readonly nowMs?: () => number
  /** @default performance.now */
  readonly monotonicMs?: () => number
}

export class Devices implements DeviceLog, TrackHost {
  readonly active: Track[] = []
  readonly onHeard: TrackHost['onHeard']
  readonly #nowMs: () => number
  readonly #monotonicMs: () => number
  readonly #table: DeviceTable
  readonly #silence: Silence
  readonly #file: TableFile
  readonly #durable: DurableTickets
  #isListening: () => boolean = () => false
  #timer: NodeJS.Timeout | null = null
  #steppedMs: number
  #writtenMs: number
  #isChanged = false
  #connected = 0

  private constructor(
    options: DevicesOptions,
    parts: { table: DeviceTable; silence: Silence; file: TableFile },
  ) {
    this.#nowMs = options.nowMs ?? Date.now
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now())
    this.#table = parts.table
    this.#silence = parts.silence
    this.#file = parts.file
    this.#durable = new DurableTickets(options.appender)
    this.#steppedMs = this.#monotonicMs()
    this.#writtenMs = this.#steppedMs
    this.onHeard = this.#silence.isWanted ? (device, topic) => this.#heard(device, topic) : null
  }

  /** Takes up what was kept. Rejects only if the spool cannot be read. */
  static async open(options: DevicesOptions): Promise<Devices> {
    const { appender, config, emit, path, silentAfterMs, nowMs = Date.now } = options
    const silence = new Silence({ appender, silentAfterMs, emit, nowMs })
    const table = new DeviceTable(config.maxDevices, (device) => void silence.forget(device, true))
    const file = new TableFile(path, emit)
    await fill(table, file)
    await silence.recover((id, heardAtMs) => table.admit(id, heardAtMs, NEVER_SEEN))
    return new Devices(options, { table, silence, file })
  }

  /** `isListening`: false: no device can be heard. */
  start(isListening: () => boolean): void {
    this.#isListening = isListening
    this.#silence.discardStrays()
    this.#timer = setInterval(() => this.step(), STEP_MS).unref()
  }

  /** The last second counts, and goes to disk. Never rejects. */
  async close(): Promise<void> {
    if (this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
    this.#settle()
    await this.#file.settled()
    if (!this.#isChanged) return
    this.#file.write(this.#table.devices())
    await this.#file.settled()
  }

  connected(clientId: string): DeviceTrack {
    if (clientId.length > MAX_ID_LENGTH) return UNTRACKED
    const device = this.#table.admit(clientId, this.#nowMs(), this.#monotonicMs())
    this.#see(device)
    device.connections += 1
    if (device.connections === 1) this.#connected += 1
    return new Track(this, device)
  }

  ended(track: Track): void {
    const { device } = track
    this.#see(device)
    device.connections -= 1
    if (device.connections === 0) this.#connected -= 1
  }

  refused(clientId: string, reason: string, detail: string): void {
    if (clientId.length > MAX_ID_LENGTH) return
    const atMs = this.#nowMs()
    const device = this.#table.meet(clientId, atMs)
    device.lastRefusal = { reason, detail: detail.slice(0, MAX_DETAIL_LENGTH), atMs }
    this.#isChanged = true
  }

  get stats(): DeviceStats {
    const { evicted, size } = this.#table
    const silent = this.#silence.silentDevices
    const silence = this.#silence.stats(this.#isListening())
    return { count: size, connected: this.#connected, silent, evicted, silence }
  }

  /**
   * One that is gone for good: the table and every stream forget it, without a word to the streams.
   * Durable when it resolves. `connected`: it is not gone, and nothing was changed.
   */
  async forget(id: string): Promise<'forgotten' | 'connected' | 'unknown'> {
    // The end of a connection within this second would list it again.
    this.#settle()
    if ((this.#table.find(id)?.connections ?? 0) > 0) return 'connected'
    const device = this.#table.remove(id)
    if (device === undefined) return 'unknown'
    const ticket = this.#silence.forget(device, false)
    await this.#file.settled()
    this.#file.write(this.#table.devices())
    await Promise.all([this.#file.settled(), this.#durable.until(ticket)])
    return 'forgotten'
  }

  /** @throws TypeError for an `after` that is no `next` */
  list(query: DeviceQuery): DevicePage {
    const everyone = query.silent ? this.#table.devices() : this.#table.everyone()
    return listDevices(everyone, query, this.#monotonicMs())
  }

  /** What the last second brought, and who has been silent for too long. The timer calls it. */
  step(): void {
    this.#settle()
    const nowMs = this.#monotonicMs()
    const passedMs = Math.min(nowMs - this.#steppedMs, MAX_STEP_MS)
    this.#steppedMs = nowMs
    if (this.#silence.isWanted && this.#isListening()) this.#silence.pass(passedMs)
    if (!this.#isChanged || nowMs - this.#writtenMs < WRITE_INTERVAL_MS) return
    if (!this.#file.write(this.#table.devices())) return
    this.#isChanged = false
    this.#writtenMs = nowMs
  }

  #settle(): void {
    if (this.active.length === 0) return
    const nowMs = this.#monotonicMs()
    const atMs = this.#nowMs()
    for (const track of this.active) {
      this.#relist(track.device)
      track.settle(nowMs, atMs)
    }
    this.active.length = 0
    this.#isChanged = true
  }

  #heard(device: Device, topic: TakenTopic): void {
    this.#relist(device)
    this.#silence.heard(device, topic)
  }

  #see(device: Device): void {
    this.#relist(device)
    device.lastSeenAtMs = this.#nowMs()
    device.seen = this.#monotonicMs()
    this.#isChanged = true
  }

  /** It gave way while it was connected. */
  #relist(device: Device): void {
    if (!device.isListed && this.#table.find(device.id) === undefined) this.#table.list(device)
  }
}

/** Before all that were: the file of the table is gone, and the spool knows it. */
const NEVER_SEEN = Number.MIN_SAFE_INTEGER

/** Of a client whose id is too long for the table. */
const UNTRACKED: DeviceTrack = { took: () => undefined, ended: () => undefined }

/** The one seen last is the last to give way, whatever the wall clock said of the others. */
async function fill(table: DeviceTable, file: TableFile): Promise<void> {
  const kept = (await file.read()).toSorted((a, b) => a.lastSeenAtMs - b.lastSeenAtMs)
  for (const [n, { id, firstSeenAtMs, ...known }] of kept.entries())
    Object.assign(table.admit(id, firstSeenAtMs, n - kept.length), known)
}
