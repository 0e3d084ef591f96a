/**
 * Records a real gateway under load: devices that publish at QoS 1 and 2, a sink that is slow, a
 * SIGKILL and a start in the middle if wanted. The result gives the disk and the world at any point
 * of it; both can begin the next recording.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../../../device-sim/random.ts'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import {
  DiskModel,
  isWithoutContent,
  type Snapshot,
  type Survival,
  snapshot,
} from './disk-model.ts'
import { dropTornEnd, type Entry, NoteWriter, readJournal } from './journal.ts'
import { PowerDevice } from './power-device.ts'
import type { PowerSink } from './power-sink.ts'
import { recorderEnv, SyncFault } from './recorder.ts'
import { apply, copyWorld, type Note, type World } from './world.ts'

const TIMEOUT_MS = 60_000
/** Behind the last ack: nothing moves any more. */
const QUIET_MS = 60

export interface RecordOptions {
  readonly sink: PowerSink
  /** Where the devices stand; not changed. */
  readonly world: World
  readonly random: Random
  /** Published before it ends. */
  readonly bytes: number
  /** SIGKILLs and starts in between, after these shares of the bytes, ascending. */
  readonly killAt?: readonly number[]
  /** Of the gateway process, beside what the recorder needs. */
  readonly env?: Readonly<Record<string, string>>
  /** fsyncs of files that fail once, at random times: by the end of the path. */
  readonly failingSyncs?: readonly string[]
  /** Deliver everything at the end, and compare the books with the sink's. */
  readonly drain?: boolean
}

/** A folder with the disk below `disk`, and beside it what must survive. */
export class RecordFolder {
  readonly path = mkdtempSync(join(realpathSync(tmpdir()), 'sluice-power-'))
  readonly disk = join(this.path, 'disk')
  readonly journal = join(this.path, 'journal')

  get dataDir(): string {
    return join(this.disk, 'data')
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

export interface Recording {
  readonly entries: readonly Entry[]
  readonly base: Snapshot
  readonly root: string
  readonly world: World
  /** fsyncs that failed. */
  readonly failedSyncs: number
}

/** Runs on `folder`, whose disk may hold what an earlier cut has left. */
export async function record(folder: RecordFolder, options: RecordOptions): Promise<Recording> {
  mkdirSync(folder.disk, { recursive: true })
  const base = snapshot(folder.disk, isWithoutContent)
  const notes = new NoteWriter(folder.journal)
  const fault = new SyncFault(join(folder.path, 'sync-fault'))
  const { sink, random } = options
  sink.begin(notes, options.world)
  const gateway = await GatewayProcess.prepare({
    folder: folder.path,
    dataDir: folder.dataDir,
    sinkUrl: sink.url,
    sink: { maxBatchRecords: 20 + random.below(200) },
    env: { ...recorderEnv({ root: folder.disk, journal: folder.journal, fault }), ...options.env },
  })
  const devices = [...copyWorld(options.world).devices.values()].map(
    (state) => new PowerDevice(state, notes),
  )
  const start = async (): Promise<void> => {
    sink.release()
    notes.write({ t: 'start', port: gateway.mqttPort } satisfies Note)
    await gateway.start()
    for (const device of devices) await device.connect(gateway.mqttPort)
    for (const device of devices) device.begin()
  }
  /** Nobody notes anything meanwhile: the end of the journal may be torn. */
  const kill = async (): Promise<void> => {
    for (const device of devices) device.expectClose()
    sink.hold()
    await gateway.kill()
    for (const device of devices) await device.close()
    dropTornEnd(folder.journal)
  }
  const failing = [...(options.failingSyncs ?? [])]
  try {
    await start()
    const faults = failing.length
    for (const share of [...(options.killAt ?? []), 1]) {
      await until('enough is published', () => {
        for (const device of devices) device.check()
        const done = bytesOf(devices) / options.bytes
        // Spread over the run, one at a time.
        const due = Math.floor((faults + 1) * Math.min(1, done))
        if (faults - failing.length < Math.min(faults, due) && !fault.isSet)
          fault.set('eio-once', failing.shift())
        return done >= share
      })
      if (share === 1) break
      await kill()
      await start()
    }
    for (const device of devices) device.pause()
    await until('all is acknowledged', () => {
      for (const device of devices) device.check()
      return devices.every(({ isDone }) => isDone)
    })
    if (options.drain) {
      sink.delayMs = () => 0
      const status = await gateway.untilStatus(
        'all is delivered',
        ({ streams }) => streams.every(({ counters }) => counters.pending === 0),
        TIMEOUT_MS,
      )
      assertBalanced(status)
    }
    sink.hold()
    await sleep(QUIET_MS)
    await kill()
  } finally {
    if (gateway.isRunning) await gateway.process.reap()
    for (const device of devices) await device.close()
    sink.end()
    notes.close()
  }
  const entries = readJournal(folder.journal)
  return {
    entries,
    base,
    root: folder.disk,
    world: copyWorld(options.world),
    failedSyncs: fault.hits,
  }
}

/** Disk and world at the point before entry `at`. */
export function stateAt(
  recording: Recording,
  at: number,
): { readonly disk: DiskModel; readonly world: World } {
  const disk = new DiskModel(recording.root, recording.base)
  const world = copyWorld(recording.world)
  for (const entry of recording.entries.slice(0, at)) {
    disk.apply(entry)
    apply(world, entry)
    if (entry.type === 'note' && (entry.note as Note).t === 'start') disk.restart()
  }
  return { disk, world }
}

export interface Cut {
  readonly at: number
  readonly survival: Survival
}

/**
 * A point of the recording: any, or one beside a change of names or an fsync, where the interesting
 * orders are.
 */
export function chooseCut(
  recording: Recording,
  random: Random,
  survivals: readonly Survival[],
): Cut {
  const { entries } = recording
  const first = entries.findIndex(({ type }) => type === 'create')
  const survival = survivals[random.below(survivals.length)] as Survival
  const near = random.chance(0.5)
  for (;;) {
    const at = first + random.below(entries.length - first + 1)
    const before = entries[at - 1]?.type ?? 'sent'
    if (near && (before === 'sent' || before === 'note' || before === 'write')) continue
    return { at, survival }
  }
}

function bytesOf(devices: readonly PowerDevice[]): number {
  return devices.reduce((sum, { publishedBytes }) => sum + publishedBytes, 0)
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + TIMEOUT_MS
  while (!condition()) {
    assert(performance.now() < endMs, `not within ${TIMEOUT_MS} ms: ${what}`)
    await sleep(2)
  }
}
