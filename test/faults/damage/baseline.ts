/**
 * What an undamaged gateway would make of a template: every pending record with its bytes, and the
 * stored values that hold it. The rule for what may be lost: a record is excusable only if none of
 * the values that hold it (its block, the copy of a parked one) is whole any more in any table or
 * log of the damaged folder. Values in tables are contiguous; those in logs are looked for at the
 * bytes where they were. One more excuse: the last commit of a log that lost bytes cannot be told
 * from a write that a power cut tore before it was acknowledged, and neither can those behind the
 * last whole one.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { readBlock } from '../../../gateway/spool/codec/block.ts'
import { decodeState } from '../../../gateway/spool/commit/state-record.ts'
import { lastCommitNumber } from '../../../gateway/spool/opening/recovery.ts'
import type { Spool } from '../../../gateway/spool/spool.ts'
import { parseCommitKey, prefixRange, stateKey } from '../../../gateway/spool/store/keys.ts'
import { openStore } from '../../../gateway/spool/store/store.ts'
import type { StreamCounters } from '../../../gateway/spool/stream/counters.ts'
import { bodyOf, ENCODER, openSpool, pinNext, queueOf } from '../../support/spool-fixture.ts'
import { OPEN_OPTIONS } from './shapes.ts'

export interface Line {
  readonly id: string
  readonly spoolId: string
  readonly stream: string
  readonly seq: number
  readonly text: string
}

export interface Delivered {
  readonly lines: readonly Line[]
  /** As reported to the sink, with the spool id that each belongs to. */
  readonly gaps: ReadonlyArray<{
    readonly spoolId: string
    readonly stream: string
    readonly first: number
    readonly last: number
  }>
}

export interface Baseline {
  readonly lines: readonly Line[]
  /** Place of each record in the order of delivery of its stream. */
  readonly place: ReadonlyMap<string, number>
  /** Stored values that hold the record, by id. */
  readonly holders: ReadonlyMap<string, readonly StoredValue[]>
  /** The chain of state records from the last checkpoint. */
  readonly chain: readonly StoredValue[]
  /** For each of the chain: all bytes of its commit in a log; itself, if it is in a table. */
  readonly records: readonly StoredValue[]
  /** Highest seq dealt, by spool id and stream. */
  readonly dealt: ReadonlyMap<string, number>
  readonly counters: ReadonlyMap<string, StreamCounters>
  readonly deadLetters: ReadonlyMap<string, readonly string[]>
  /**
   * Ids of parked records: a gateway makes dead letters of them when the sink accepts later ones.
   */
  readonly parked: ReadonlySet<string>
  readonly journal: string
}

export interface StoredValue {
  readonly commit: number
  readonly bytes: Buffer
  /** Of values in logs: file, and [from, to) of the pieces. */
  readonly inLogs: ReadonlyArray<{
    readonly file: string
    readonly pieces: ReadonlyArray<readonly [number, number]>
  }>
}

/** `prepare`: a fresh copy of the template. */
export async function baselineOf(prepare: (target: string) => Promise<string>): Promise<Baseline> {
  const opened = await openSpool(await prepare('opened'), OPEN_OPTIONS)
  const { spool } = opened
  const streams = [...spool.streams.values()]
  const counters = new Map(streams.map((s) => [s.name, structuredClone(s.state.counters)]))
  const dealt = new Map<string, number>()
  const deadLetters = new Map<string, string[]>()
  for (const { name } of streams) {
    deadLetters.set(
      name,
      (await spool.deadLetters.list(name, null, 1_000)).map(({ id }) => id),
    )
  }
  const { checkpoint, changes } = spool.appender.attach({
    name: 'sessions',
    collect: () => null,
    checkpoint: () => Buffer.alloc(0),
  })
  const journal = journalText(checkpoint, changes)
  const parkedAt = new Set(
    spool.queues.flatMap((queue) =>
      queue.parked.map((p) => `${p.spoolId}:${queue.stream}:${p.seq}`),
    ),
  )
  const { lines } = await drainAll(spool)
  await spool.stop()
  const parked = new Set(
    lines.map(({ id }) => id).filter((id) => parkedAt.has(id.slice(id.indexOf(':') + 1))),
  )
  const place = new Map(lines.map(({ id }, i) => [id, i]))

  const folder = await prepare('read')
  const logs = await readLogs(join(folder, 'spool'))
  const store = await openStore(join(folder, 'spool'), { create: false })
  const holders = new Map<string, StoredValue[]>()
  for (const space of [0x62, 0x70]) {
    for await (const [key, value] of store.entries(prefixRange(space))) {
      const raw = await readBlock(value).catch(() => null)
      if (raw === null) continue
      const stored = locate(value, logs, parseCommitKey(key)?.commit ?? 0)
      for (const id of idsIn(raw))
        if (place.has(id)) holders.set(id, [...(holders.get(id) ?? []), stored])
    }
  }
  const chain: StoredValue[] = []
  for (let commit = await lastCommitNumber(store); ; ) {
    const value = await store.get(stateKey(commit))
    const state = value && decodeState(value)
    if (!value || !state) throw new Error(`the template has no state record ${commit}`)
    chain.unshift(locate(value, logs, commit))
    for (const { state: stream } of state.record.streams) {
      const spoolId = stream.identities.at(-1)?.spoolId ?? ''
      const key = `${spoolId}/${stream.name}`
      dealt.set(key, Math.max(dealt.get(key) ?? 0, stream.nextSeq - 1))
    }
    if (state.record.checkpoint) break
    commit = state.record.previous
  }
  await store.close()
  for (const { spoolId, stream, seq } of lines) {
    const key = `${spoolId}/${stream}`
    dealt.set(key, Math.max(dealt.get(key) ?? 0, seq))
  }
  return {
    lines,
    place,
    holders,
    chain,
    records: recordsOf(chain, logs),
    dealt,
    counters,
    deadLetters,
    parked,
    journal,
  }
}

export function journalText(checkpoint: Uint8Array | null, changes: readonly Uint8Array[]): string {
  const parts = [...(checkpoint ? [checkpoint] : []), ...changes].map((bytes) =>
    Buffer.from(bytes).toString(),
  )
  return parts.filter((text) => text !== '').join('\n')
}

const DRAIN_LIMIT_MS = 20_000

/**
 * As a sink that accepts everything. @throws when nothing moves any more, or a batch is not what it
 * says
 */
export async function drainAll(spool: Spool): Promise<Delivered> {
  const lines: Line[] = []
  const gaps: Array<Delivered['gaps'][number]> = []
  const endMs = performance.now() + DRAIN_LIMIT_MS
  for (const { stream, spool: own } of spool.queues) {
    const queue = queueOf(spool, stream)
    if (queue.parked.length > 0) await queue.returnParked()
    while (queue.pendingRecords > 0 || queue.pin) {
      if (performance.now() > endMs)
        throw new Error(`${stream}: wedged with ${queue.pendingRecords} pending`)
      const batch = queue.pin ? await queue.load(queue.pin, ENCODER) : await pinNext(queue, 700)
      if (!batch) {
        await new Promise((resolve) => setTimeout(resolve, 1))
        continue
      }
      const { pin } = batch
      const texts = gunzipSync(await bodyOf(batch))
        .toString('utf8')
        .split('\n')
        .slice(0, -1)
      const seqs = batch.seqs()
      if (texts.length !== pin.recordCount && seqs.length !== texts.length) {
        throw new Error(`${stream}: ${texts.length} records, the pin says ${pin.recordCount}`)
      }
      for (const [i, text] of texts.entries()) {
        const { id, seq } = JSON.parse(text) as { id: string; seq: number }
        if (seq !== seqs[i] || !id.endsWith(`:${pin.spoolId}:${stream}:${seq}`)) {
          throw new Error(`${stream}: ${id} in the place of ${pin.spoolId} ${seqs[i]}`)
        }
        lines.push({ id, seq, spoolId: pin.spoolId, stream, text })
      }
      for (const { spoolId, firstSeq: first, lastSeq: last } of batch.batch.gaps)
        gaps.push({ spoolId, stream, first, last })
      await queue.settle({
        throughSeq: pin.lastSeq,
        refused: [],
        deadLetter: [],
        gapsReported: true,
        keepOuterLastSeq: null,
      })
    }
    for (const { identity, first, last } of [...own.state.gaps, ...own.state.gapsTail]) {
      gaps.push({ spoolId: own.state.identities[identity]?.spoolId ?? '', stream, first, last })
    }
  }
  return { lines, gaps }
}

function idsIn(raw: Buffer): string[] {
  const lines = raw.toString('utf8').split('\n').slice(0, -1)
  return lines.map((line) => (JSON.parse(line) as { id: string }).id)
}

/** Headers included: from the end of the state record before it. */
function recordsOf(chain: readonly StoredValue[], logs: readonly Log[]): StoredValue[] {
  return chain.map((value, i) => {
    const [own] = value.inLogs
    const log = logs.find(({ file }) => file === own?.file)
    if (!own || !log) return value
    const before = chain[i - 1]?.inLogs.find(({ file }) => file === own.file)
    const from = before?.pieces.at(-1)?.[1] ?? 0
    const to = own.pieces.at(-1)?.[1] ?? log.bytes.length
    const inLogs = [{ file: own.file, pieces: [[from, to] as const] }]
    return { commit: value.commit, bytes: log.bytes.subarray(from, to), inLogs }
  })
}

interface Log {
  readonly file: string
  readonly bytes: Buffer
  readonly payload: Buffer
  /** Where in the file the payload's pieces lie: [payload offset, file offset, length]. */
  readonly pieces: ReadonlyArray<readonly [number, number, number]>
}

/**
 * Log format of LevelDB: 32 KiB blocks of records with headers of 7 bytes. These logs are whole.
 */
async function readLogs(dbDir: string): Promise<Log[]> {
  const logs: Log[] = []
  for (const file of (await readdir(dbDir)).filter((name) => name.endsWith('.log'))) {
    const bytes = await readFile(join(dbDir, file))
    const parts: Buffer[] = []
    const pieces: Array<readonly [number, number, number]> = []
    let payloadAt = 0
    for (let at = 0; at + 7 <= bytes.length; ) {
      const left = 32_768 - (at % 32_768)
      if (left < 7) {
        at += left
        continue
      }
      const length = bytes.readUInt16LE(at + 4)
      parts.push(bytes.subarray(at + 7, at + 7 + length))
      pieces.push([payloadAt, at + 7, length])
      payloadAt += length
      at += 7 + length
    }
    logs.push({ file, bytes, payload: Buffer.concat(parts), pieces })
  }
  return logs
}

function locate(bytes: Buffer, logs: readonly Log[], commit: number): StoredValue {
  const inLogs: Array<StoredValue['inLogs'][number]> = []
  for (const { file, payload, pieces } of logs) {
    const start = payload.indexOf(bytes)
    if (start < 0) continue
    const end = start + bytes.length
    const own = pieces.flatMap(([payloadAt, fileAt, length]): Array<readonly [number, number]> => {
      const from = Math.max(start, payloadAt)
      const to = Math.min(end, payloadAt + length)
      return from < to ? [[fileAt + from - payloadAt, fileAt + to - payloadAt]] : []
    })
    inLogs.push({ file, pieces: own })
  }
  return { commit, bytes, inLogs }
}

/** Is the value still whole somewhere in the folder, under whatever name its file has? */
export class Intactness {
  readonly #files: readonly Buffer[]
  readonly #known = new Map<StoredValue, boolean>()

  private constructor(files: readonly Buffer[]) {
    this.#files = files
  }

  /** `damaged`: the data folder, before a gateway opened it. */
  static async of(damaged: string): Promise<Intactness> {
    const files: Buffer[] = []
    for (const folder of [join(damaged, 'spool')]) {
      for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
        const isData = /^\d+\.(ldb|log)$/.test(entry.name) && entry.isFile()
        // A compaction may take it away.
        const bytes = isData ? await readFile(join(folder, entry.name)).catch(() => null) : null
        if (bytes) files.push(bytes)
      }
    }
    return new Intactness(files)
  }

  /** Commits behind it may be the end of a write that a power cut tore. */
  lastWholeCommit({ chain, records }: Baseline): number {
    const isWhole = (value: StoredValue, i: number): boolean =>
      this.has(value) && this.has(records[i] ?? value)
    return Math.max(0, ...chain.filter(isWhole).map(({ commit }) => commit))
  }

  has(value: StoredValue): boolean {
    const known = this.#known.get(value)
    if (known !== undefined) return known
    const { bytes, inLogs } = value
    const found =
      this.#files.some((file) => file.includes(bytes)) ||
      inLogs.some(({ pieces }) => this.#files.some((file) => isAt(file, bytes, pieces)))
    this.#known.set(value, found)
    return found
  }
}

function isAt(
  file: Buffer,
  bytes: Buffer,
  pieces: ReadonlyArray<readonly [number, number]>,
): boolean {
  let done = 0
  for (const [from, to] of pieces) {
    if (to > file.length || !file.subarray(from, to).equals(bytes.subarray(done, done + to - from)))
      return false
    done += to - from
  }
  return true
}
