/**
 * Opens a damaged spool as a gateway does, goes on with it, and says everything that I7 forbids.
 * Empty: the promise holds.
 */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Spool } from '../../../gateway/spool/spool.ts'
import { keptByCounters, pendingByCounters } from '../../../gateway/spool/stream/counters.ts'
import { durable, lanes, message, openSpool } from '../../support/spool-fixture.ts'
import {
  type Baseline,
  type Delivered,
  drainAll,
  type Intactness,
  journalText,
  type Line,
} from './baseline.ts'
import { OPEN_OPTIONS } from './shapes.ts'

const VERIFY_LIMIT_MS = 20_000

export interface Judgement {
  readonly faults: readonly string[]
  /** Pending records that were lost, all of them excusable if `faults` is empty. */
  readonly lost: number
  readonly openMs: number
}

/** `whileOpen`: damage to an open store; returns what is still whole afterwards. */
export async function judge(
  dataDir: string,
  baseline: Baseline,
  before: Intactness,
  whileOpen?: (spool: Spool) => Promise<Intactness>,
): Promise<Judgement> {
  const faults: string[] = []
  const began = performance.now()
  const { spool } = await openSpool(dataDir, OPEN_OPTIONS)
  const recovered = spool.appender.attach({
    name: 'sessions',
    collect: () => null,
    checkpoint: () => Buffer.alloc(0),
  })
  const fresh = [await appendOne(spool)]
  const openMs = performance.now() - began
  let intact = before
  if (whileOpen) {
    await verified(spool)
    intact = await whileOpen(spool)
  }
  const delivered = await drainAll(spool)
  if (!whileOpen) await verified(spool)
  fresh.push(await appendOne(spool))
  const rest = await drainAll(spool)
  const lines = [...delivered.lines, ...rest.lines]
  const gaps = [...delivered.gaps, ...rest.gaps]

  const lastWhole = before.lastWholeCommit(baseline)
  const isStateWhole =
    lastWhole === baseline.chain.at(-1)?.commit &&
    baseline.chain.every((value) => before.has(value))
  const old = lines.filter(({ text }) => !text.includes('"fresh":'))
  faults.push(...checkOld(old, baseline, isStateWhole))
  faults.push(...checkFresh(lines, fresh, baseline))
  const lost = baseline.lines.filter(({ id }) => !old.some((line) => line.id === id))
  faults.push(...checkLost(lost, baseline, intact, gaps, spool))
  faults.push(...checkGaps(gaps, lines))
  faults.push(...checkBalance(spool))
  if (isStateWhole) {
    faults.push(...checkCounted(spool, baseline, old, lost))
    if (journalText(recovered.checkpoint, recovered.changes) !== baseline.journal)
      faults.push('a journal is not what it was')
  }
  faults.push(...(await checkDeadLetters(spool)))
  const isSeen = lost.some(({ id }) =>
    (baseline.holders.get(id) ?? []).some(({ commit }) => commit <= lastWhole),
  )
  if (isSeen) faults.push(...(await checkKept(dataDir, spool)))
  await spool.stop()
  faults.push(...(await checkNext(dataDir, whileOpen !== undefined)))
  return { faults, lost: lost.length, openMs }
}

let freshNumber = 0

/** A new record, acknowledged: its id is known once it was delivered. */
async function appendOne(spool: Spool): Promise<number> {
  const n = ++freshNumber
  const to = lanes(spool, 'fresh', 'telemetry/fresh', ['telemetry'])
  const ticket = spool.appender.append(to, message(`{"fresh":${n}}`))
  if (ticket === 0) throw new Error('a new record has to wait')
  await durable(spool, ticket)
  return n
}

async function verified(spool: Spool): Promise<void> {
  const endMs = performance.now() + VERIFY_LIMIT_MS
  while (spool.verifier.result === null) {
    if (performance.now() > endMs) throw new Error('the background check does not end')
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

function checkOld(old: readonly Line[], baseline: Baseline, isStateWhole: boolean): string[] {
  const faults: string[] = []
  const expected = new Map(baseline.lines.map((line) => [line.id, line.text]))
  const seen = new Set<string>()
  const last = new Map<string, number>()
  for (const { id, text, stream } of old) {
    if (seen.has(id)) faults.push(`${id} was delivered twice`)
    seen.add(id)
    const known = expected.get(id)
    if (known === undefined) {
      if (isStateWhole) faults.push(`${id} was settled before, and is delivered again`)
      continue
    }
    if (known !== text) faults.push(`${id} has other bytes: ${text.slice(0, 200)}`)
    const place = baseline.place.get(id) ?? 0
    if (place < (last.get(stream) ?? -1)) faults.push(`${id} is out of order`)
    last.set(stream, place)
  }
  return faults
}

function checkFresh(
  lines: readonly Line[],
  fresh: readonly number[],
  baseline: Baseline,
): string[] {
  const faults: string[] = []
  for (const n of fresh) {
    const found = lines.filter(({ text }) => text.includes(`{"fresh":${n}}`))
    const [line] = found
    if (found.length !== 1 || !line) {
      faults.push(`the new record ${n} was delivered ${found.length} times`)
      continue
    }
    const dealt = baseline.dealt.get(`${line.spoolId}/${line.stream}`) ?? 0
    if (line.seq <= dealt)
      faults.push(`I4: seq ${line.seq} of ${line.spoolId} was dealt again (${dealt} were)`)
  }
  return faults
}

function checkLost(
  lost: readonly Line[],
  baseline: Baseline,
  intact: Intactness,
  gaps: Delivered['gaps'],
  spool: Spool,
): string[] {
  const faults: string[] = []
  const lastWhole = intact.lastWholeCommit(baseline)
  for (const { id, spoolId, stream, seq } of lost) {
    const holders = (baseline.holders.get(id) ?? []).filter(({ commit }) => commit <= lastWhole)
    if (holders.some((value) => intact.has(value)))
      faults.push(`${id} is whole on disk, and was not delivered`)
    const isReported = gaps.some(
      (gap) =>
        gap.spoolId === spoolId && gap.stream === stream && gap.first <= seq && gap.last >= seq,
    )
    if (!isReported && spool.spoolId === spoolId) faults.push(`I9: ${id} is lost without a gap`)
  }
  return faults.slice(0, 10)
}

function checkGaps(gaps: Delivered['gaps'], lines: readonly Line[]): string[] {
  for (const { spoolId, stream, first, last } of gaps) {
    const line = lines.find(
      (l) => l.spoolId === spoolId && l.stream === stream && l.seq >= first && l.seq <= last,
    )
    if (line) return [`${line.id} was delivered, and is in the gap ${first}-${last}`]
  }
  return []
}

export function checkBalance(spool: Spool): string[] {
  return [...spool.streams.values()].flatMap(({ name, state }) => {
    const pending = pendingByCounters(state.counters)
    return pending === 0 ? [] : [`I5: ${name} is drained, and its counters say ${pending} pending`]
  })
}

function checkCounted(
  spool: Spool,
  baseline: Baseline,
  old: readonly Line[],
  lost: readonly Line[],
): string[] {
  return [...spool.streams.values()].flatMap(({ name, state }) => {
    const was = baseline.counters.get(name)
    const corrupt = state.counters.dropped.corrupt - (was?.dropped.corrupt ?? 0)
    const own = lost.filter(({ stream }) => stream === name).length
    const delivered = old.filter(({ stream }) => stream === name).length
    const fresh = name === 'telemetry' ? 2 : 0
    const faults: string[] = []
    if (corrupt !== own)
      faults.push(`I5: ${own} records of ${name} are lost, ${corrupt} are counted`)
    const counted = state.counters.delivered - (was?.delivered ?? 0)
    if (counted !== delivered + fresh)
      faults.push(`I5: ${delivered + fresh} of ${name} delivered, ${counted} counted`)
    return faults
  })
}

async function checkDeadLetters(spool: Spool): Promise<string[]> {
  const faults: string[] = []
  for (const { name, state } of spool.streams.values()) {
    const listed = (await spool.deadLetters.list(name, null, 1_000)).length
    const kept = state.deadLetters.ingest.count + state.deadLetters.refused.count
    if (listed !== kept) faults.push(`${name} has ${listed} dead letters and counts ${kept}`)
    if (kept !== keptByCounters(state.counters))
      faults.push(`I5: dead letters of ${name} do not balance`)
  }
  return faults
}

/** The damaged files are kept with a note, and status says so. */
async function checkKept(dataDir: string, spool: Spool): Promise<string[]> {
  if (spool.damage.length === 0) return ['records are lost, and status says nothing']
  const aside = join(dataDir, 'aside')
  const folders = await readdir(aside).catch(() => [])
  for (const folder of folders) {
    if (await stat(join(aside, folder, 'README.txt')).catch(() => null)) return []
  }
  // Nothing to keep: the whole folder was gone.
  return spool.damage.some((line) => /store is empty|database is gone/.test(line))
    ? []
    : ['records are lost, and no files are kept']
}

/** The next start finds nothing wrong, and has nothing to deliver again. */
async function checkNext(dataDir: string, mayFindMore: boolean): Promise<string[]> {
  const { spool } = await openSpool(dataDir, OPEN_OPTIONS)
  const faults: string[] = []
  const pending = spool.queues.reduce((n, queue) => n + queue.pendingRecords, 0)
  if (pending > 0) faults.push(`the next start has ${pending} pending`)
  if (mayFindMore) {
    // What was damaged under the open store, and not read since, is found now; then never again.
    await verified(spool)
    await spool.stop()
    return [...faults, ...(await checkNext(dataDir, false))]
  }
  if (spool.damage.length > 0) faults.push(`the next start finds: ${spool.damage.join('; ')}`)
  await spool.stop()
  return faults
}
