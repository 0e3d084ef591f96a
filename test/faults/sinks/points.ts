/** The words between the campaign and the preload inside the gateway. */

/**
 * Where a gateway dies, or stops while something happens to the receiver. `send.before`: the sink
 * has the batch, nothing has left. `send.step`: the n-th time that bytes leave or come over a
 * connection, or that a file changes, while a batch is in flight; before and after each. That is
 * also between the phases of an exchange. `answer.unread`: the receiver has said something that
 * nobody has looked at: it has stored the batch, mostly. `answer.read`: the sink knows its answer,
 * the drain does not. `note`: the durable note between two phases. `settle`: what the answer
 * changes in the spool.
 */
export const INNER_POINTS = [
  'send.before',
  'send.step',
  'answer.unread',
  'answer.read',
  'settle.before',
  'settle.after',
] as const
export const NOTE_POINTS = ['note.before', 'note.after'] as const

export type SinkPoint = (typeof INNER_POINTS)[number] | (typeof NOTE_POINTS)[number]

export interface PointPlan {
  readonly point: SinkPoint
  /** At so many-th passing, from 1. */
  readonly nth: number
  /** `stop`: SIGSTOP, so that something can happen to the receiver at that very moment. */
  readonly deed: 'die' | 'stop'
  /** Of this plan among those of an episode: one process may carry out several. */
  readonly number: number
}

/** Names the file with the plan, as JSON, or `null`: read at the start and at each signal. */
export const PLAN_VARIABLE = 'SLUICE_TEST_SINK_PLAN'
export const ARMING_SIGNAL = 'SIGUSR2'
/** `type/defect`. */
export const DEFECT_VARIABLE = 'SLUICE_TEST_SINK_DEFECT'

/** Written at the point, so that it can be told from any other end. */
export function lastWords({ point, number }: PointPlan): string {
  return `sluice-test: at ${point}, plan ${number}.`
}
