/**
 * Where a gateway under test may die, and what it says as it does: the words between the campaign
 * and its preload.
 */

/**
 * Inside the gateway. `commit`: a write that holds new blocks; `settle`: one that deletes settled
 * ones; `retention`: one that deletes by a limit; `note`: any other. `before`: handed over to
 * nobody; `during`: LevelDB's thread is at it; `after`: durable, nobody knows. `answer`: the sink's
 * answer has come, and was not looked at. `lease`: the file that keeps seqs from being used twice
 * is raised. `…step`: the n-th change of a file, or call of LevelDB, in that phase; before and
 * after each is one.
 */
export const INNER_POINTS = [
  'commit.before',
  'commit.during',
  'commit.after',
  'settle.before',
  'settle.during',
  'settle.after',
  'retention.before',
  'retention.during',
  'retention.after',
  'note.before',
  'note.during',
  'note.after',
  'answer',
  'lease.before',
  'lease.after',
  'recovery.step',
  'running.step',
  'stop.step',
] as const

/** By the driver, with what it sees. */
export const OUTER_POINTS = [
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'sink.stored',
  'random.running',
  'random.start',
  'random.stop',
] as const

export type InnerPoint = (typeof INNER_POINTS)[number]
export type OuterPoint = (typeof OUTER_POINTS)[number]
export type DeathPoint = InnerPoint | OuterPoint

/** One death inside the gateway, in {@link PLAN_VARIABLE} as JSON. */
export interface DeathPlan {
  readonly point: InnerPoint
  /**
   * At so many-th passing, from 1; counted from the arming signal on, in `recovery` from the start.
   */
  readonly nth: number
  /** `during`: how long the other thread has had then, microseconds. */
  readonly afterUs: number
}

export const PLAN_VARIABLE = 'SLUICE_TEST_DEATH'
export const DEFECT_VARIABLE = 'SLUICE_TEST_DEFECT'
export const ARMING_SIGNAL = 'SIGUSR2'

/** Written as the process dies, so that a death at a point can be told from any other. */
export const LAST_WORDS = 'sluice-test: dies at'
/** Followed by phase and number. */
export const STEPS_WORDS = 'sluice-test: steps of'

/** Defects that a test can plant: each must make the oracle fail. */
export const DEFECTS = [
  'ack-before-commit',
  'qos2-ids-in-memory',
  'delete-before-answer',
  'counters-outside-batch',
  'expiry-in-memory',
] as const

export type Defect = (typeof DEFECTS)[number]
