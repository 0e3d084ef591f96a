/**
 * The fuzzer: batches of clients at the same time, each with one to three connections of its own,
 * valid, or broken by a mutation, in segments of any size. What the gateway makes of each
 * connection is compared with judge.ts: its answers in order, its ending, its records; then the
 * batch as a whole: counters of endings, nothing charged to any bound, the bystanders untouched
 * (I2, I3, I6, I9). A batch depends on its seed alone.
 */
import type { Duplex } from 'node:stream'
import { Random } from '../../../device-sim/random.ts'
import type { CloseReason, RefuseReason } from '../../../gateway/broker/events.ts'
import { packet } from '../../support/raw-mqtt.ts'
import { FrameTaker } from './frame-taker.ts'
import { BYSTANDER, type FuzzedGate, LIMITS, type Transport } from './fuzzed-gate.ts'
import {
  type Ending,
  type JudgedRecord,
  type Judgement,
  judge,
  type StoredSessions,
} from './judge.ts'
import { MUTATIONS, type Mutation, mutate, SPLITS, type Split, segments } from './mutations.ts'
import { makeClientId, makeSession, pick } from './sessions.ts'

export interface FuzzTotals {
  connections: number
  /** Packets that the gateway looked at, the one that ended a connection included. */
  packets: number
  records: number
  bystanderMessages: number
  readonly mutations: Record<Mutation, number>
  readonly splits: Record<Split, number>
  /** `open`, `closed <reason>`, `refused <reason>`. */
  readonly endings: Map<string, number>
  readonly failures: string[]
}

interface PlannedConnection {
  readonly parts: readonly Buffer[]
  /** Turns of the event loop between two parts. */
  readonly pauses: boolean
  readonly judgement: Judgement
  /** How the client ends it, if the gateway does not. */
  readonly ends: 'cut' | 'fin'
  readonly what: string
  /** Acks that the client got. */
  acks: number
}

const CLIENTS_PER_BATCH = 40
const BYSTANDER_MESSAGES = 20
const ENDING_WAIT_MS = 10_000

export function newTotals(): FuzzTotals {
  const zeros = <K extends string>(keys: readonly K[]): Record<K, number> =>
    Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>
  return {
    connections: 0,
    packets: 0,
    records: 0,
    bystanderMessages: 0,
    mutations: zeros(MUTATIONS),
    splits: zeros(SPLITS),
    endings: new Map(),
    failures: [],
  }
}

/** Runs one batch; what is wrong goes into `totals.failures`. */
export async function runBatch(
  gate: FuzzedGate,
  seed: string,
  transport: Transport,
  totals: FuzzTotals,
  clients = CLIENTS_PER_BATCH,
): Promise<void> {
  const random = new Random(seed, 'fuzz')
  const plans = Array.from({ length: clients }, () => planClient(random, transport, totals))
  const before = countersOf(gate)
  gate.turnClock(1)
  const fail = (what: string): void => {
    totals.failures.push(`batch ${seed}: ${what}`)
  }
  await Promise.all([
    ...plans.map((plan) =>
      runClient(gate, transport, plan).catch((error: unknown) => fail(String(error))),
    ),
    gate.bystander.publish(BYSTANDER_MESSAGES).catch((error: unknown) => fail(String(error))),
  ])
  const all = plans.flat()
  // Wills are published after the end; everything else was appended before.
  const wills = all.filter(({ judgement }) => judgement.will !== null).length
  await turnsUntil(
    () =>
      gate.broker.connections() === 2 &&
      gate.broker.stats.willsPublished - before.wills >= wills &&
      gate.watcher.seen >= gate.bystander.published &&
      gate.broker.stats.subscriberBytes === 0,
  )
  await turn()
  for (const one of compareRecords(gate, all)) fail(one)
  for (const one of compareCounters(before, countersOf(gate), all)) fail(one)
  for (const one of leftovers(gate)) fail(one)
  for (const one of gate.takeFaults()) fail(`an error inside the broker: ${one}`)
  totals.bystanderMessages += BYSTANDER_MESSAGES
  totals.records += gate.appender.records.length - BYSTANDER_MESSAGES
  for (const { judgement } of all) {
    totals.connections += 1
    totals.packets += judgement.packets + (judgement.ending.kind === 'open' ? 0 : 1)
    const name = nameOf(judgement.ending)
    totals.endings.set(name, (totals.endings.get(name) ?? 0) + 1)
  }
  // Nothing is kept: what memory grows by is the broker's.
  gate.appender.records.length = 0
  gate.appender.checkpoint()
}

// Plans.

function planClient(random: Random, transport: Transport, totals: FuzzTotals): PlannedConnection[] {
  const sessions: StoredSessions = new Map()
  const clientId = makeClientId(random)
  const plan: PlannedConnection[] = []
  const clean = random.chance(0.5)
  for (let left = clean ? 1 : 1 + random.below(3); left > 0; left -= 1) {
    const mutation = pick(random, MUTATIONS)
    const split = pick(random, SPLITS)
    totals.mutations[mutation] += 1
    totals.splits[split] += 1
    const frames = mutate(
      random,
      makeSession(random, { clientId, clean, maxFrames: 100 }),
      mutation,
    )
    const planned = planConnection(
      random,
      frames,
      split,
      sessions,
      transport,
      `${mutation}, ${split}`,
    )
    plan.push(planned)
    // What its session holds now cannot be told.
    if (planned.judgement.isCutShort) break
  }
  // Stored sessions are ended as the protocol has it, so that the number of sessions stays what it
  // was.
  for (const stored of Array.from(sessions.keys())) {
    const frames = [packet.connect({ clientId: stored, clean: true }), packet.disconnect()]
    plan.push(
      planConnection(random, frames, 'whole', sessions, transport, 'the end of the session'),
    )
  }
  return plan
}

let minted = 0

function planConnection(
  random: Random,
  frames: readonly Buffer[],
  split: Split,
  sessions: StoredSessions,
  transport: Transport,
  what: string,
): PlannedConnection {
  let bytes = Buffer.concat(frames)
  let parts = segments(random, frames, split)
  const judgement = judge(bytes, sessions, LIMITS, `minted-judge-${++minted}`)
  const { ending, subscriptions } = judgement
  if (
    ending.kind === 'closed' &&
    ending.reason === 'client-disconnect' &&
    subscriptions.length > 0
  ) {
    // What is broken behind a DISCONNECT that is held back may be found before it. Whole packets
    // there cannot.
    bytes = bytes.subarray(0, judgement.bytes)
    parts = segments(random, [bytes], split)
  }
  // Which records are whose could not be told of a name that the gateway makes up.
  const isNameless = judgement.clientId?.startsWith('minted-') === true
  if (judgement.speaks5 || (judgement.isCutShort && isNameless)) {
    return planConnection(
      random,
      [packet.connect(), packet.disconnect()],
      split,
      sessions,
      transport,
      what,
    )
  }
  return {
    parts,
    pauses: random.chance(0.3),
    judgement,
    // Over TCP a reset overtakes what was sent before it.
    ends: random.chance(0.5) && transport === 'memory' ? 'cut' : 'fin',
    what: `${what}: ${bytes.toString('hex').slice(0, 4_000)}`,
    acks: 0,
  }
}

// One client.

async function runClient(
  gate: FuzzedGate,
  transport: Transport,
  plan: readonly PlannedConnection[],
): Promise<void> {
  for (const planned of plan) {
    try {
      await runConnection(gate, transport, planned)
    } catch (error) {
      throw new Error(
        `${String(error)} (judged ${nameOf(planned.judgement.ending)}; ${planned.what})`,
        {
          cause: error,
        },
      )
    }
  }
}

async function runConnection(
  gate: FuzzedGate,
  transport: Transport,
  planned: PlannedConnection,
): Promise<void> {
  const { end, farEndGone } = await gate.connect(transport)
  try {
    await talk(end, planned)
  } finally {
    // Also of one that failed: left open it would be charged to every batch behind this one.
    end.destroy()
  }
  await farEndGone
}

async function talk(end: Duplex, planned: PlannedConnection): Promise<void> {
  const { judgement, parts, pauses } = planned
  const taker = new FrameTaker(end)
  for (const part of parts) {
    if (taker.isClosed || end.destroyed) break
    end.write(part)
    if (pauses && parts.length < 200) await turn()
  }
  if (judgement.ending.kind === 'open') {
    await taker.until('the answers', () => hasAll(taker, judgement))
    await turn()
    await turn()
  } else await taker.until('the end of the connection', () => taker.isClosed, true)
  if (taker.fault !== null) throw taker.fault
  compareAnswers(taker, judgement)
  planned.acks = taker.acks.length
  if (judgement.ending.kind === 'open') await finish(end, taker, planned.ends)
}

async function finish(end: Duplex, taker: FrameTaker, ends: 'cut' | 'fin'): Promise<void> {
  if (taker.isClosed) throw new Error('the connection was closed, and should live')
  if (ends === 'cut') end.destroy()
  else end.end()
  await taker.until('the end of the connection', () => taker.isClosed, true)
}

function hasAll(
  taker: FrameTaker,
  { ending, acks, completions, pings, subscriptions }: Judgement,
): boolean {
  const isConnected = ending.kind === 'open' && ending.connected
  return (
    (taker.connack !== null) === isConnected &&
    taker.acks.length >= acks.length &&
    taker.completions.length >= completions.length &&
    taker.pings >= pings &&
    taker.subscriptions.length >= subscriptions.length
  )
}

/**
 * Of a connection that the gateway closed, the last answers may be missing: what is there is in
 * order.
 */
function compareAnswers(taker: FrameTaker, judgement: Judgement): void {
  const { ending } = judgement
  const whole = ending.kind === 'open'
  const codes = connackCodes(ending)
  const code = taker.connack?.code ?? null
  if (code === null ? codes.length > 0 : !codes.includes(code))
    throw new Error(`CONNACK ${code}, not ${codes.join(' or ') || null}`)
  if (taker.connack !== null && taker.connack.present !== judgement.sessionPresent) {
    throw new Error(`Session Present is ${taker.connack.present}`)
  }
  compareList('acks', taker.acks, judgement.acks, whole)
  compareList('PUBCOMPs', taker.completions, judgement.completions, whole)
  compareUnordered('SUBACKs', taker.subscriptions, judgement.subscriptions, whole)
  // A PINGREQ is answered ahead of packets that are held back, so also of what ends the connection.
  if (whole && taker.pings !== judgement.pings) {
    throw new Error(`${taker.pings} PINGRESPs, not ${judgement.pings}`)
  }
}

/** Of the CONNACK that is due; none: no CONNACK is. */
function connackCodes(ending: Ending): readonly number[] {
  if (ending.kind === 'refused') return [ending.returnCode]
  if (ending.connected) return [0]
  return ending.kind === 'closed' && ending.isTold ? [0x81, 0x82] : []
}

function compareList(
  what: string,
  got: readonly unknown[],
  expected: readonly unknown[],
  whole: boolean,
): void {
  const cut = whole ? expected : expected.slice(0, got.length)
  if (got.join() !== cut.join()) throw new Error(`${what}: ${got.join()}; expected ${cut.join()}`)
}

/** The protocol asks for no order among SUBACKs and UNSUBACKs. */
function compareUnordered(
  what: string,
  got: readonly string[],
  expected: readonly string[],
  whole: boolean,
): void {
  const left = [...expected]
  for (const one of got) {
    const at = left.indexOf(one)
    if (at < 0) throw new Error(`${what}: ${got.join()}; expected ${expected.join()}`)
    left.splice(at, 1)
  }
  if (whole && left.length > 0)
    throw new Error(`${what}: ${got.join()}; expected ${expected.join()}`)
}

// The batch.

/**
 * Every record under the name of its client, in order (I2), once (I3), unchanged; the bystander's
 * among them.
 */
function compareRecords(gate: FuzzedGate, all: readonly PlannedConnection[]): string[] {
  const got = new Map<string, string[]>()
  for (const record of gate.appender.records) add(got, record.device, describe(record))
  const faults: string[] = []
  const { published } = gate.bystander
  const mine = Array.from({ length: BYSTANDER_MESSAGES }, (_, i) =>
    String(published - BYSTANDER_MESSAGES + 1 + i),
  )
  const his = gate.appender.records
    .filter(({ device }) => device === BYSTANDER)
    .map(({ payload }) => payload)
  if (his.join() !== mine.join()) faults.push(`the bystander's records are ${his.join()}`)
  got.delete(BYSTANDER)
  const expected = new Map<string, PlannedConnection[]>()
  for (const planned of all) add(expected, planned.judgement.clientId ?? '', planned)
  const minted = {
    got: takeMinted(got, (list) => list),
    expected: takeMinted(expected, (list) => recordsAtMost(list)),
  }
  if (minted.got !== minted.expected)
    faults.push(`records of made-up client ids: ${minted.got}; expected ${minted.expected}`)
  for (const device of new Set([...got.keys(), ...expected.keys()])) {
    const [has, whose] = [got.get(device) ?? [], expected.get(device) ?? []]
    if (areRecordsOf(has, whose)) continue
    const bytes = whose.map(({ what }) => what)
    faults.push(
      `records of ${device}: ${has.join(' | ')}; expected ${recordsAtMost(whose).join(' | ')} (${bytes.join(' ; ')})`,
    )
  }
  return faults
}

function recordsAtMost(connections: readonly PlannedConnection[]): string[] {
  return connections.flatMap(({ judgement }) =>
    [...judgement.records, ...(judgement.will ?? [])].map(describe),
  )
}

/**
 * Exactly those of the connections, one after the other; of one that was cut short, those that it
 * got acks for.
 */
function areRecordsOf(got: readonly string[], connections: readonly PlannedConnection[]): boolean {
  let at = 0
  const take = (records: readonly string[]): boolean => {
    const isThere = records.every((record, index) => got[at + index] === record)
    at += records.length
    return isThere
  }
  for (const { judgement, acks } of connections) {
    const records = judgement.records.map(describe)
    const will = (judgement.will ?? []).map(describe)
    if (!judgement.isCutShort) {
      if (!take(records) || !take(will)) return false
      continue
    }
    // It is the last one of its client.
    const count = got.length - at - will.length
    const least = acks === 0 ? 0 : judgement.recordsAtAck[acks - 1]!
    if (count < least || count > records.length) return false
    if (!take(records.slice(0, count)) || !take(will)) return false
  }
  return at === got.length
}

/**
 * Lists of records of devices with names that the gateway made up: which is whose cannot be told.
 */
function takeMinted<T>(
  byDevice: Map<string, T[]>,
  recordsOf: (list: T[]) => readonly string[],
): string {
  const lists: string[] = []
  for (const [device, list] of Array.from(byDevice)) {
    if (!device.startsWith('minted-')) continue
    byDevice.delete(device)
    const records = recordsOf(list)
    if (records.length > 0) lists.push(records.join(' | '))
  }
  return lists.toSorted().join('\n')
}

interface Counters {
  readonly wills: number
  readonly opened: number
  readonly closed: Readonly<Record<CloseReason, number>>
  readonly refused: Readonly<Record<RefuseReason, number>>
}

function countersOf({ broker }: FuzzedGate): Counters {
  const {
    connectionsOpened,
    connectionsClosed,
    connectionsRefused,
    willsPublished: wills,
  } = broker.stats
  return {
    wills,
    opened: connectionsOpened,
    closed: { ...connectionsClosed },
    refused: { ...connectionsRefused },
  }
}

/** Which of these ended a connection that was cut short depends on what was found first. */
const BROKEN: readonly string[] = ['closed malformed', 'closed packet-too-large']

/** The counters moved by what happened, reason by reason. */
function compareCounters(
  before: Counters,
  after: Counters,
  all: readonly PlannedConnection[],
): string[] {
  const expected = new Map<string, number>()
  const count = (name: string): void => {
    expected.set(name, (expected.get(name) ?? 0) + 1)
  }
  let cutShort = 0
  for (const { judgement } of all) {
    const { ending } = judgement
    if (ending.kind !== 'refused' && ending.connected) count('opened')
    if (judgement.will !== null) count('wills')
    if (judgement.isCutShort) cutShort += 1
    else count(ending.kind === 'open' ? 'closed connection-lost' : nameOf(ending))
  }
  const got = new Map<string, number>([['opened', after.opened - before.opened]])
  got.set('wills', after.wills - before.wills)
  for (const [reason, n] of Object.entries(after.closed)) {
    got.set(`closed ${reason}`, n - before.closed[reason as CloseReason])
  }
  for (const [reason, n] of Object.entries(after.refused)) {
    got.set(`refused ${reason}`, n - before.refused[reason as RefuseReason])
  }
  for (const name of BROKEN) {
    const more = Math.max(0, Math.min(cutShort, (got.get(name) ?? 0) - (expected.get(name) ?? 0)))
    cutShort -= more
    expected.set(name, (expected.get(name) ?? 0) + more)
  }
  const wrong = [...got]
    .filter(([name, n]) => n !== (expected.get(name) ?? 0))
    .map(([name, n]) => `counter "${name}" moved by ${n}, not ${expected.get(name) ?? 0}`)
  return cutShort === 0 ? wrong : [...wrong, `${cutShort} broken connections were not counted`]
}

/** Everybody but the bystanders is gone: nothing may be charged to anybody. */
export function leftovers(gate: FuzzedGate): string[] {
  const { stats } = gate.broker
  const gauges = {
    connections: gate.broker.connections() - 2,
    unackedMessages: stats.unackedMessages,
    unackedBytes: stats.unackedBytes,
    holdBackBytes: stats.holdBackBytes,
    waitingMessages: stats.waitingMessages,
    waitingBytes: stats.waitingBytes,
    subscriberBytes: stats.subscriberBytes,
    sessions: stats.sessions,
    openPacketIds: stats.openPacketIds,
    unseenCopies: gate.bystander.published - gate.watcher.seen,
  }
  return Object.entries(gauges)
    .filter(([, value]) => value !== 0)
    .map(([name, value]) => `${name} is ${value} behind the batch`)
}

function describe({
  stream,
  topic,
  payload,
  qos,
  dup,
  retain,
  will,
}: Omit<JudgedRecord, 'device'>): string {
  return `${stream} ${topic} q${qos}${dup ? ' dup' : ''}${retain ? ' retain' : ''}${will ? ' will' : ''} ${payload}`
}

function add<T>(lists: Map<string, T[]>, key: string, value: T): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}

function nameOf(ending: Ending): string {
  return ending.kind === 'open' ? 'open' : `${ending.kind} ${ending.reason}`
}

async function turn(): Promise<void> {
  await new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** What does not come is found by the comparison behind it. */
async function turnsUntil(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + ENDING_WAIT_MS
  while (!condition() && performance.now() < endMs) {
    await new Promise((resolve) => {
      setTimeout(resolve, 1)
    })
  }
}
