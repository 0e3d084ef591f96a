/**
 * The table on disk: a gzip of one JSON line a device, in a file of its own, replaced as a whole. It
 * shares nothing with the commits, so it delays none; what a kill takes of it is the last minute. A
 * file that cannot be read is discarded, and the table begins anew (I7): gzip's checksum and length
 * tell.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { constants, gunzip, gzip } from 'node:zlib'
import { errorCode, errorMessage } from '../shared/errors.ts'
import type { Device } from './device.ts'
import type { EmitDevicesEvent } from './events.ts'

/** Devices that are written out before others have their turn: half a millisecond. */
const DEVICES_A_TURN = 500
/** A table of a million devices has half of it. */
const MAX_INFLATED_BYTES = 512 * 1024 * 1024

/** One line of the file. */
export interface KeptDevice {
  readonly id: string
  readonly firstSeenAtMs: number
  readonly lastSeenAtMs: number
  readonly lastMessageAtMs: number | null
  readonly messages: number
  readonly lastTopic: string | null
  readonly lastRefusal: Device['lastRefusal']
}

export class TableFile {
  readonly #path: string
  readonly #emit: EmitDevicesEvent
  #writing: Promise<void> | null = null

  constructor(path: string, emit: EmitDevicesEvent) {
    this.#path = path
    this.#emit = emit
  }

  /** Never rejects: what cannot be read is told and left out. */
  async read(): Promise<readonly KeptDevice[]> {
    try {
      const packed = await readFile(this.#path)
      const text = await promisify(gunzip)(packed, { maxOutputLength: MAX_INFLATED_BYTES })
      const lines = text.toString('utf8').split('\n')
      return lines.filter((line) => line !== '').map(readLine)
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return []
      const detail = errorMessage(error)
      this.#emit({ type: 'devices.table-discarded', path: this.#path, detail })
      return []
    }
  }

  /** False: the one before is not done. Each device is written as it is when its turn comes. */
  write(devices: Iterable<Device>): boolean {
    if (this.#writing !== null) return false
    this.#writing = this.#write(devices).finally(() => {
      this.#writing = null
    })
    return true
  }

  /** Resolves when nothing is being written. Never rejects. */
  async settled(): Promise<void> {
    await this.#writing
  }

  async #write(devices: Iterable<Device>): Promise<void> {
    const temporary = `${this.#path}.new`
    try {
      const text = await linesOf([...devices])
      const packed = await promisify(gzip)(text, { level: constants.Z_BEST_SPEED })
      // Without an fsync: after a power cut it may be the former one, or one that is discarded.
      await writeFile(temporary, packed, { mode: 0o600 })
      await rename(temporary, this.#path)
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined)
      const detail = errorMessage(error)
      this.#emit({ type: 'devices.table-not-written', path: this.#path, detail })
    }
  }
}

async function linesOf(devices: readonly Device[]): Promise<string> {
  const parts: string[] = []
  for (let from = 0; from < devices.length; from += DEVICES_A_TURN) {
    const some = devices.slice(from, from + DEVICES_A_TURN)
    parts.push(some.map((device) => `${JSON.stringify(keptOf(device))}\n`).join(''))
    await turn()
  }
  return parts.join('')
}

function keptOf(device: Device): KeptDevice {
  const { id, firstSeenAtMs, lastSeenAtMs, lastMessageAtMs, messages, lastTopic } = device
  const { lastRefusal } = device
  return { id, firstSeenAtMs, lastSeenAtMs, lastMessageAtMs, messages, lastTopic, lastRefusal }
}

/** @throws Error for a line that this version, or an older one, did not write */
function readLine(line: string): KeptDevice {
  const kept = JSON.parse(line) as KeptDevice
  const { id, firstSeenAtMs, lastSeenAtMs, lastMessageAtMs, messages, lastTopic } = kept
  const { lastRefusal } = kept
  const isWhole =
    typeof id === 'string' &&
    [firstSeenAtMs, lastSeenAtMs, messages].every(Number.isFinite) &&
    (lastMessageAtMs === null || Number.isFinite(lastMessageAtMs)) &&
    (lastTopic === null || typeof lastTopic === 'string') &&
    (lastRefusal === null || typeof lastRefusal.reason === 'string')
  if (!isWhole) throw new Error('a line is no device')
  return kept
}
