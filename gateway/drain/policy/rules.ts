/**
 * The numbers of the ingest contract (sink/http/README.md) that no configuration changes. In one
 * place, so that tests can shrink them and the contract is checked against them.
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
  /**
   * A batch is taken apart after so many tries in a row that came to nothing: with answers that
   * hold, with others that concern its stream, with those that concern the sink.
   */
  readonly holdTries: number
  readonly streamTries: number
  readonly sinkTries: number
  /** So often others must be taken, and a record fail at once afterwards... */
  readonly evidence: number
  /** ...so soon, ms... */
  readonly freshMs: number
  /** ...and the record must fail alone so often, to be parked like one that was refused. */
  readonly aloneTries: number
  /** After so many tries without anything taken the sink is in doubt again, not the record. */
  readonly unfoundedTries: number
  /** So many parked records without an acceptance hold the stream. */
  readonly parkedLimit: number
  /** `maxRefusedShare` counts the last so many judged records... */
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
  holdTries: 2,
  streamTries: 3,
  sinkTries: 10,
  evidence: 3,
  freshMs: 1_000,
  aloneTries: 3,
  unfoundedTries: 5,
  parkedLimit: 100,
  judgedWindow: 1_000,
  judgedFrom: 100,
}
