/** How every type of sink counts a try of a batch, and tells of one that was not acked. */
import type { Batch, SinkAnswer } from '../ports/sink.ts'
import { writtenCode } from '../shared/text/answer-code.ts'
import type { EmitSinkEvent } from './events.ts'
import { acksSomething, outcomeOf, type SinkStats } from './stats.ts'

interface Counting {
  readonly sink: string
  readonly stats: SinkStats
  readonly emit: EmitSinkEvent
  /** Wall clock, ms since the epoch. */
  readonly nowMs: () => number
}

/** The answer of `attempt`. A try that throws counts as time alone. */
export async function counted(
  { sink, stats, emit, nowMs }: Counting,
  batch: Batch,
  attempt: () => Promise<SinkAnswer>,
): Promise<SinkAnswer> {
  const startedAt = performance.now()
  stats.inFlight += 1
  let answer: SinkAnswer
  try {
    answer = await attempt()
  } finally {
    stats.inFlight -= 1
    stats.requestSeconds.observe((performance.now() - startedAt) / 1000)
  }
  stats.requests[outcomeOf(answer, batch)] += 1
  if (acksSomething(answer, batch)) stats.lastAckAtMs = nowMs()
  if (answer.kind === 'verdicts') return answer
  const { kind: what, code, detail } = answer
  const { stream } = batch
  emit({ type: 'sink.not-acked', sink, stream, what, status: writtenCode(code), detail })
  return answer
}
