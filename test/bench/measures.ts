/**
 * A backlog as the bench and the campaign of overload measure it: filled while the sink is down,
 * then opened again.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { deviceWrittenBytes } from './disk.ts'
import { startToFirstAck } from './first-ack.ts'
import { measureLoad } from './load.ts'
import { memoryMb, writeBytes } from './processes.ts'
import { median } from './statistics.ts'
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
   * From the start of the process to a PUBACK on an empty and on a full spool, the median of {@link
   * STARTS}.
   */
  readonly emptyStartMs: number
  readonly fullStartMs: number
}

/** A single one says more of what else the machine does just then. */
const STARTS = 3

/**
 * Fills a spool while the sink is down, then opens it again. `restMs`: from the first ack to the
 * look at its memory.
 */
export async function measureBacklog(
  records: number,
  seed: number,
  restMs = 5000,
): Promise<BacklogFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const running: System[] = []
  const open = async (): Promise<{ ms: number; rssAnonMb: number; system: System }> => {
    const times: number[] = []
    for (;;) {
      const { system, ms } = await startToFirstAck({ folder, sink: false })
      running.push(system)
      times.push(ms)
      if (times.length < STARTS) {
        await system.stop()
        continue
      }
      await sleep(restMs)
      return { ms: median(times), rssAnonMb: memoryMb(system.process.pid).rssAnon, system }
    }
  }
  try {
    const empty = await open()
    const { diskBytesPerPayloadByte } = await fillBacklog(empty.system, records, seed)
    await empty.system.stop()
    const full = await open()
    return {
      records: await pending(full.system),
      emptyRssAnonMb: empty.rssAnonMb,
      fullRssAnonMb: full.rssAnonMb,
      diskBytesPerPayloadByte,
      emptyStartMs: empty.ms,
      fullStartMs: full.ms,
    }
  } finally {
    for (const system of running) await system.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}
