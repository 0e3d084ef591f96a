/**
 * The numbers of ingest-contract.md, "Answer", that no configuration changes. One place, so that tests can shrink them
 * and README can be checked against them.
 */
export interface DrainRules {
  /** Full jitter: no wait is shorter, and the first ceiling is twice this. ms. */
  readonly backoffBaseMs: number
  /** No wait that the sink did not ask for is longer. ms. */
  readonly backoffCapMs: number
  /** A held sink or stream is probed so often. ms. */
  readonly probeMs: number
  /** So many malformed answers in a row hold the stream. */
  readonly malformedLimit: number
  /** So many tries of a batch in a row that time out halve it. */
  readonly timeoutLimit: number
  /** So many parked records without an acceptance hold the stream. */
  readonly parkedLimit: number
  /** `maxRefusedShare` looks at so many judged records... */
  readonly judgedWindow: number
  /** ...once there are so many. */
  readonly judgedFrom: number
}

export const CONTRACT_RULES: DrainRules = {
  backoffBaseMs: 500,
  backoffCapMs: 60_000,
  probeMs: 60_000,
  malformedLimit: 5,
  timeoutLimit: 2,
  parkedLimit: 100,
  judgedWindow: 1_000,
  judgedFrom: 100,
}
