/**
 * A backlog as the bench and the campaign of overload measure it: filled while the sink is down,
 * then opened again.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { deviceWrittenBytes } from './disk.ts'
import { startToFirstAck } from './first-ack.ts'
import { measureLoad } from './load.ts'
import { memoryMb, writeBytes } from './processes.ts'
import type { System } from './systems.ts'

export interface Filled {
  readonly records: number
  readonly diskBytesPerPayloadByte: number
  readonly deviceBytesPerPayloadByte: number
}

/** Full load while the sink is down, until so many records are stored. */
export async function fillBacklog(system: System, atLeast: number, seed: number): Promise<Filled> {
  const { pid } = system.process
  const before = { disk: writeBytes(pid), device: deviceWrittenBytes(system.folder) ?? Number.NaN }
  let records = 0
  let payload = 0
  while (records < atLeast) {
    const seconds = Math.min(30, Math.max(1, (atLeast - records) / 200_000))
    const load = { window: 100, seconds, warmupMs: 0, seed: seed + records }
    const loaded = await measureLoad(system, load)
    records += loaded.messages
    payload += loaded.messages * loaded.payloadBytes
  }
  return {
    records,
    diskBytesPerPayloadByte: (writeBytes(pid) - before.disk) / payload,
    deviceBytesPerPayloadByte:
      ((deviceWrittenBytes(system.folder) ?? Number.NaN) - before.device) / payload,
  }
}

export async function pending(system: System): Promise<number> {
  const status = await system.status()
  return status?.streams.reduce((sum, stream) => sum + stream.counters.pending, 0) ?? 0
}

export interface BacklogFigures {
  readonly records: number
  readonly emptyRssAnonMb: number
  readonly fullRssAnonMb: number
  readonly diskBytesPerPayloadByte: number
  /**
   * From the start of the process to a PUBACK on an empty and on a full spool, the best of {@link
   * STARTS} by turns: what else the machine does makes none shorter.
   */
  readonly emptyStartMs: number
  readonly fullStartMs: number
}

interface Opened {
  readonly folder: string
  readonly startsMs: number[]
  rssAnonMb: number
  records: number
}

/** A single one says more of what else the machine does just then. */
const STARTS = 3

/**
 * Fills a spool while the sink is down, then opens it and an empty one by turns: what else the
 * machine does meets both. `restMs`: from the first ack to the look at the memory.
 */
export async function measureBacklog(
  records: number,
  seed: number,
  restMs = 5000,
): Promise<BacklogFigures> {
  const root = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const opened = (name: string): Opened => {
    const folder = join(root, name)
    mkdirSync(folder)
    return { folder, startsMs: [], rssAnonMb: Number.NaN, records: 0 }
  }
  const empty = opened('empty')
  const full = opened('full')
  let running: System | null = null
  const start = async (one: Opened): Promise<System> => {
    const { system, ms } = await startToFirstAck({ folder: one.folder, sink: false })
    running = system
    one.startsMs.push(ms)
    return system
  }
  const stop = async (): Promise<void> => {
    await running?.stop()
    running = null
  }
  try {
    const { diskBytesPerPayloadByte } = await fillBacklog(await start(full), records, seed)
    // The start of a spool that is filled only then is none of a full one.
    full.startsMs.length = 0
    await stop()
    for (let n = 1; n <= STARTS; n++) {
      for (const one of [empty, full]) {
        const system = await start(one)
        if (n === STARTS) {
          await sleep(restMs)
          one.rssAnonMb = memoryMb(system.process.pid).rssAnon
          one.records = await pending(system)
        }
        await stop()
      }
    }
    return {
      records: full.records,
      emptyRssAnonMb: empty.rssAnonMb,
      fullRssAnonMb: full.rssAnonMb,
      diskBytesPerPayloadByte,
      emptyStartMs: Math.min(...empty.startsMs),
      fullStartMs: Math.min(...full.startsMs),
    }
  } finally {
    await stop()
    rmSync(root, { recursive: true, force: true })
  }
}
