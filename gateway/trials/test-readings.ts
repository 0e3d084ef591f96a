/**
 * Test readings: a message that an operator sends to see each stage of a reading's way, with its
 * time. It is a record like any other (ids, counters, the sink's ledger), told apart by its device,
 * `sluice-test`. Costs nothing while none is on its way: the drain tells of each batch, and a batch
 * is looked at only then. Bounded: the last sixteen are known.
 */
import type { Broker } from '../broker/broker.ts'
import type { Drain } from '../drain/drain.ts'
import { OperatorError } from '../ports/operator.ts'
import type { Batch, BatchWatch, SinkAnswer } from '../ports/sink.ts'
import type { ReadingStage, TestReading } from '../ports/trials.ts'
import { within } from '../shared/time/within.ts'
import type { StreamConfig } from '../spool/config.ts'
import type { Spool } from '../spool/spool.ts'
import { exampleOf } from './sink-trial.ts'

const MAX_KNOWN = 16
/** How long its sender waits for the ack. */
const ANSWER_WITHIN_MS = 2_000
const CLIENT_ID = 'sluice-test'
const STAGES: readonly ReadingStage[] = ['arrived', 'committed', 'acknowledged', 'sent', 'stored']

/** What it is sent and followed through. */
interface ReadingWay {
  readonly spool: Pick<Spool, 'condition' | 'streams' | 'gateway'>
  readonly broker: Pick<Broker, 'publishTest'> | null
  readonly drain: Pick<Drain, 'sinkStandings'> | null
  readonly config: { readonly streams: Readonly<Record<string, StreamConfig>> }
}

interface Followed {
  readonly id: string
  readonly topic: string
  readonly stream: string
  readonly spoolId: string
  readonly seq: number
  readonly reached: Map<ReadingStage, { readonly atMs: number; readonly detail?: string }>
  /** What keeps it, in the words of its sink. */
  obstacle: string | null
}

export class TestReadings implements BatchWatch {
  readonly #known = new Map<string, Followed>()
  readonly #onTheWay = new Set<Followed>()

  /** @throws OperatorError that says which topics there are, or what is in the way */
  async send(
    topic: string | null,
    payload: Uint8Array | null,
    way: ReadingWay,
  ): Promise<TestReading> {
    const followed = this.#publish(topic ?? firstTopic(way), payload, way)
    await within(followed.acknowledged, ANSWER_WITHIN_MS)
    return this.#shown(followed.reading, way)
  }

  find(id: string, way: ReadingWay): TestReading | null {
    const reading = this.#known.get(id)
    return reading === undefined ? null : this.#shown(reading, way)
  }

  sent(sink: string, batch: Batch): void {
    for (const reading of this.#onTheWay)
      if (isIn(reading, batch)) reach(reading, 'sent', Date.now(), `by sink ${sink}`)
  }

  answered(sink: string, batch: Batch, answer: SinkAnswer): void {
    for (const reading of this.#onTheWay) {
      if (!isIn(reading, batch)) continue
      reading.obstacle = obstacleIn(answer, reading.seq)
      if (reading.obstacle !== null) continue
      reach(reading, 'stored', Date.now(), `acknowledged to sink ${sink}`)
      this.#onTheWay.delete(reading)
    }
  }

  #publish(topic: string, given: Uint8Array | null, { spool, broker, config }: ReadingWay) {
    if (broker === null)
      throw new OperatorError('ADMIN_BAD_REQUEST', 'the gateway is starting: send it again then')
    const numbers = new Map([...spool.streams].map(([name, { state }]) => [name, state.nextSeq]))
    const payload = given ?? Buffer.from(JSON.stringify({ sluice: 'test', at: Date.now() }))
    const published = broker.publishTest({ clientId: CLIENT_ID, topic, payload })
    if (!published.ok) throw refusal(topic, published.why, { spool, config })
    const [stream = ''] = published.streams
    const state = spool.streams.get(stream)?.state
    const seq = numbers.get(stream)
    if (state === undefined || seq === undefined || state.nextSeq === seq) throw noRecord(stream)
    const { spoolId } = state.identities.at(-1) ?? { spoolId: '' }
    const id = `${spool.gateway}:${spoolId}:${stream}:${seq}`
    const reading: Followed = {
      id,
      topic,
      stream,
      spoolId,
      seq,
      reached: new Map(),
      obstacle: null,
    }
    this.#keep(reading)
    const others = published.streams.slice(1)
    const into = others.length === 0 ? '' : `, and into ${others.join(', ')}`
    reach(reading, 'arrived', published.arrivedAtMs, `into stream ${stream}${into}`)
    void published.committed.then(() => reach(reading, 'committed', Date.now()))
    const acknowledged = published.acknowledged.then(() =>
      reach(reading, 'acknowledged', Date.now()),
    )
    return { reading, acknowledged }
  }

  #keep(reading: Followed): void {
    this.#known.set(reading.id, reading)
    this.#onTheWay.add(reading)
    if (this.#known.size <= MAX_KNOWN) return
    const [oldest] = this.#known.values()
    if (oldest === undefined) return
    this.#known.delete(oldest.id)
    this.#onTheWay.delete(oldest)
  }

  #shown({ id, topic, stream, reached, obstacle }: Followed, { drain }: ReadingWay): TestReading {
    const why = obstacle ?? standingOf(stream, drain)
    let isFirstMissing = true
    const stages = STAGES.map((stage) => {
      const at = reached.get(stage)
      if (at !== undefined) return { stage, ...at }
      const detail = isFirstMissing && why !== null ? { detail: why } : {}
      isFirstMissing = false
      return { stage, atMs: null, ...detail }
    })
    return { id, topic, stages }
  }
}

function reach(reading: Followed, stage: ReadingStage, atMs: number, detail?: string): void {
  if (reading.reached.has(stage)) return
  reading.reached.set(stage, { atMs, ...(detail === undefined ? {} : { detail }) })
}

function isIn({ stream, spoolId, seq }: Followed, batch: Batch): boolean {
  return (
    batch.stream === stream &&
    batch.spoolId === spoolId &&
    seq >= batch.firstSeq &&
    seq <= batch.lastSeq
  )
}

/** null: the sink took the record. */
function obstacleIn(answer: SinkAnswer, seq: number): string | null {
  if (answer.kind !== 'verdicts') return answer.detail
  const listed = answer.listed.find((each) => each.seq === seq)
  if (listed !== undefined)
    return listed.verdict === 'acked' ? null : `${listed.verdict}: ${listed.reason ?? 'no reason'}`
  const isBehind = answer.listed.some((each) => each.verdict === 'retry' && each.seq < seq)
  const isAcked = answer.ackedThrough === null || seq <= answer.ackedThrough
  return isAcked && !isBehind ? null : 'not taken yet: it is sent again'
}

function standingOf(stream: string, drain: ReadingWay['drain']): string | null {
  const standings = drain?.sinkStandings() ?? []
  const sink = standings.find(({ streams }) => streams.some((each) => each.stream === stream))
  const of = sink?.streams.find((each) => each.stream === stream)
  if (sink === undefined || of === undefined || of.state === 'ok') return null
  return `sink ${sink.sink} is ${of.state}${of.detail === null ? '' : `: ${of.detail}`}`
}

function noRecord(stream: string): OperatorError {
  return new OperatorError(
    'ADMIN_BAD_REQUEST',
    `stream ${stream} made no record of it: it is larger than maxRecordBytes and now a dead letter, or the stream is full and drops`,
  )
}

function firstTopic({ config }: ReadingWay): string {
  const [stream] = Object.values(config.streams)
  return exampleOf(stream?.topics[0] ?? '#')
}

function refusal(
  topic: string,
  why: 'unrouted' | 'unwanted' | 'full',
  { spool, config: { streams } }: Pick<ReadingWay, 'spool' | 'config'>,
): OperatorError {
  if (why === 'full') return intakeClosed(topic, spool.condition)
  const filters = Object.values(streams).flatMap(({ topics }) => topics)
  const text = {
    unrouted: `no stream takes ${JSON.stringify(topic)}; they take ${filters.join(', ')}`,
    unwanted: `${JSON.stringify(topic)} is no topic that is kept: it has wildcards, is empty, too long, too deep, or under $`,
  }[why]
  return new OperatorError('ADMIN_BAD_REQUEST', text)
}

function intakeClosed(
  topic: string,
  { state, why }: ReadingWay['spool']['condition'],
): OperatorError {
  const text =
    state === 'ok'
      ? `a stream that takes ${JSON.stringify(topic)} is full: it takes readings again when some are delivered, or when its maxBytes is raised`
      : `intake is closed, the spool is ${state}${why === null ? '' : `: ${why}`}; it takes readings again by itself when that is mended`
  return new OperatorError('SLUICE_INTAKE_CLOSED', `${text}. Devices wait, too`)
}
