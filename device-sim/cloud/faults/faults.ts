/**
 * Faults on request: what the reference sink does wrong, when, how often, and the proof that it
 * did. A rule is data (so it can come from options, from `POST /faults` or from a seeded schedule);
 * a decision is data, too; every effect is counted where it happens, by kind, so that a test can
 * show that its fault fired. Random numbers come from the seed. Not here: HTTP, the listener that
 * an outage closes (cloud.ts).
 *
 * `POST /faults` takes `{"faults":[<rule>, …], "replace": false}`; `replace` ends all earlier rules. A rule:
 *
 * | member | meaning |
 * |---|---|
 * | `kind` | see {@link FaultSpec} |
 * | `afterMs`, `forMs` | begins that long after it was set (0), ends that long after it began (never) |
 * | `count` | fires at most so often |
 * | `share` | of the requests that it could hit, 0 to 1 (1); `refuse` judges records, not requests |
 * | `stream` | only batches of this stream |
 * | `match` | of `refuse`: which records, see record-match.ts |
 *
 * `GET /faults` lists the rules with how often each fired, `DELETE /faults` ends them all.
 */
import { z } from 'zod'
import { Random } from '../../random.ts'
import type { Judge } from '../store/lines.ts'
import { matches, recordMatch } from './record-match.ts'

const when = {
  afterMs: z.number().min(0).default(0),
  forMs: z.number().positive().optional(),
  count: z.number().int().positive().optional(),
  share: z.number().min(0).max(1).default(1),
  stream: z.string().optional(),
}

const retryAfter = z.union([
  z.strictObject({ seconds: z.number().int().min(0) }),
  z.strictObject({ dateSeconds: z.number().int().min(0) }),
])

const spec = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('outage'),
    mode: z.enum(['refuse', 'reset', '503']).default('refuse'),
    ...when,
  }),
  z.strictObject({
    kind: z.literal('busy'),
    status: z.union([z.literal(429), z.literal(503)]).default(503),
    retryAfter: retryAfter.optional(),
    ...when,
  }),
  z.strictObject({ kind: z.literal('slow'), delayMs: z.number().min(0), ...when }),
  z.strictObject({ kind: z.literal('drop-request'), ...when }),
  z.strictObject({ kind: z.literal('lost-answer'), ...when }),
  z.strictObject({ kind: z.literal('half-open'), ...when }),
  z.strictObject({
    kind: z.literal('partial'),
    keep: z.number().min(0).max(1).default(0.5),
    ...when,
  }),
  z.strictObject({
    kind: z.literal('refuse'),
    match: recordMatch,
    as: z.enum(['listed', 'status']).default('listed'),
    status: z.number().int().min(400).max(499).default(422),
    ...when,
  }),
  z.strictObject({ kind: z.literal('portal'), ...when }),
  z.strictObject({
    kind: z.literal('status'),
    status: z.number().int().min(200).max(599),
    ...when,
  }),
])

/**
 * One rule, as it is written. `outage`: the listener closes (`refuse`), connections are reset, or
 * everything is 503.
 * `busy`: 429 or 503 with Retry-After as `{seconds}` or as a date `{dateSeconds}` ahead. `slow`: waits before it looks
 * at the batch. `drop-request`: cut before storing. `lost-answer`: stored, then cut. `half-open`:
 * stored, never answered. `partial`: stores the share `keep` of the new records of a batch.
 * `refuse`: refuses records for good, in
 * `rejected` or by the status of the whole batch. `portal`: 200 with HTML. `status`: any other answer.
 */
export type FaultSpec = z.input<typeof spec>
export type FaultKind = FaultSpec['kind']
type Rule = z.output<typeof spec>

export const FAULT_KINDS = [
  'outage',
  'busy',
  'slow',
  'drop-request',
  'lost-answer',
  'half-open',
  'partial',
  'refuse',
  'portal',
  'status',
] as const satisfies readonly FaultKind[]

/**
 * What is wrong with a rule, in words: the member and what it wants. Of another error, its message.
 */
export function faultProblem(error: unknown): string {
  if (!(error instanceof z.ZodError)) return (error as Error).message
  return error.issues
    .map(({ path, message, code, ...more }) => {
      const where = path.map(String).join('.')
      const isKind = code === 'invalid_union' && 'discriminator' in more
      return `${where === '' ? 'the rule' : where}: ${isKind ? `want one of ${FAULT_KINDS.join(', ')}` : message}`
    })
    .join('; ')
}

const faultRequest = z.strictObject({ faults: z.array(spec), replace: z.boolean().default(false) })

/** A rule with its life. */
interface Active {
  readonly id: number
  readonly rule: Rule
  readonly fromMs: number
  readonly untilMs: number
  fired: number
  /**
   * Given to a request that has not ended: counts against `count` until it is fired or released.
   */
  reserved: number
}

interface FaultStatus {
  readonly id: number
  readonly spec: FaultSpec
  readonly state: 'waiting' | 'active' | 'over'
  readonly fired: number
}

/**
 * What is to go wrong with one request. Each part is `fire`d where it takes effect, or `release`d.
 */
export interface Decision {
  readonly parts: readonly FaultPart[]
}

/** One rule's share in a request. */
export class FaultPart {
  readonly rule: Rule
  readonly #active: Active
  readonly #fired: Record<FaultKind, number>
  #done = false

  constructor(active: Active, fired: Record<FaultKind, number>) {
    this.rule = active.rule
    this.#active = active
    this.#fired = fired
    active.reserved += 1
  }

  /** It took effect. Counts once, however often it is called. */
  fire(): void {
    if (this.#done) return
    this.release()
    this.#active.fired += 1
    this.#fired[this.rule.kind] += 1
  }

  /** It did not apply, or its request is over. */
  release(): void {
    if (this.#done) return
    this.#done = true
    this.#active.reserved -= 1
  }
}

interface FaultControlOptions {
  readonly seed: number
  /** A clock that only goes forward, ms. */
  readonly nowMs: () => number
}

/** The rules that are set, and what they did. */
export class FaultControl {
  /**
   * How often each kind took effect since the start; of `outage` with `refuse`, how often the
   * listener was closed.
   */
  readonly fired: Record<FaultKind, number>
  readonly #random: Random
  readonly #refuseSeed: number
  readonly #nowMs: () => number
  readonly #listeners: Array<() => void> = []
  #rules: Active[] = []
  #nextId = 1

  constructor(options: FaultControlOptions) {
    this.#random = new Random(options.seed, 'cloud faults')
    this.#refuseSeed = options.seed
    this.#nowMs = options.nowMs
    this.fired = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as Record<
      FaultKind,
      number
    >
  }

  /**
   * Sets rules, from now on; ids to tell them by. @throws ZodError when one is malformed; then none
   * is set
   */
  add(...specs: readonly FaultSpec[]): number[] {
    const rules = specs.map((one) => spec.parse(one))
    const now = this.#nowMs()
    const ids = rules.map((rule) => {
      const id = this.#nextId++
      const fromMs = now + rule.afterMs
      const untilMs = rule.forMs === undefined ? Number.POSITIVE_INFINITY : fromMs + rule.forMs
      this.#rules.push({ id, rule, fromMs, untilMs, fired: 0, reserved: 0 })
      return id
    })
    this.#changed()
    return ids
  }

  /**
   * Rules as `POST /faults` takes them. @throws ZodError or SyntaxError when the text is malformed
   */
  static parse(text: string): { readonly faults: readonly FaultSpec[]; readonly replace: boolean } {
    return faultRequest.parse(JSON.parse(text))
  }

  /** Ends all rules. What fired stays counted. */
  clear(): void {
    this.#rules = []
    this.#changed()
  }

  list(): FaultStatus[] {
    const now = this.#nowMs()
    return this.#rules.map((one) => {
      const over = now >= one.untilMs || one.fired >= (one.rule.count ?? Number.POSITIVE_INFINITY)
      const state = over ? 'over' : now < one.fromMs ? 'waiting' : 'active'
      return { id: one.id, spec: one.rule, state, fired: one.fired }
    })
  }

  /** How often one rule took effect. */
  firedOf(id: number): number {
    return this.#rules.find((one) => one.id === id)?.fired ?? 0
  }

  /** Called whenever rules were set or ended. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /**
   * What goes wrong with a batch of this stream that comes now. Every part must be fired or
   * released.
   */
  decide(stream: string): Decision {
    const now = this.#nowMs()
    const parts: FaultPart[] = []
    for (const one of this.#rules) {
      const { rule } = one
      if (rule.kind === 'outage' && rule.mode !== '503') continue
      if (!isActive(one, now) || (rule.stream !== undefined && rule.stream !== stream)) continue
      if (rule.kind !== 'refuse' && rule.share < 1 && !this.#random.chance(rule.share)) continue
      parts.push(new FaultPart(one, this.fired))
    }
    return { parts }
  }

  /**
   * The outage of the connection itself that is on at `nowMs`, and when that may change next (ms on
   * the clock; Infinity: never).
   */
  connectionOutage(nowMs = this.#nowMs()): {
    readonly mode: 'refuse' | 'reset' | null
    readonly nextChangeMs: number
  } {
    let mode: 'refuse' | 'reset' | null = null
    let nextChangeMs = Number.POSITIVE_INFINITY
    for (const one of this.#rules) {
      if (one.rule.kind !== 'outage' || one.rule.mode === '503') continue
      if (nowMs < one.fromMs) nextChangeMs = Math.min(nextChangeMs, one.fromMs)
      else if (isActive(one, nowMs)) {
        if (mode !== 'refuse') mode = one.rule.mode
        nextChangeMs = Math.min(nextChangeMs, one.untilMs)
      }
    }
    return { mode, nextChangeMs }
  }

  /** Counts a connection outage of this mode, if one is on at this moment. False: none is. */
  fireOutage(mode: 'refuse' | 'reset', nowMs = this.#nowMs()): boolean {
    const found = this.#rules.find(
      (one) => one.rule.kind === 'outage' && one.rule.mode === mode && isActive(one, nowMs),
    )
    if (found === undefined) return false
    new FaultPart(found, this.fired).fire()
    return true
  }

  /**
   * The judge of a decision: which records are refused, and where a partial store stops. null: all
   * are stored.
   */
  judge(decision: Decision, newRecords: number): Judge | null {
    const refusals = decision.parts.filter((part) => part.rule.kind === 'refuse')
    const partial = decision.parts.find((part) => part.rule.kind === 'partial')
    let limit = Number.POSITIVE_INFINITY
    if (partial?.rule.kind === 'partial' && newRecords > 1) {
      limit = Math.floor(newRecords * partial.rule.keep)
      // A share that is not zero makes progress.
      if (partial.rule.keep > 0) limit = Math.max(1, limit)
    }
    if (refusals.length === 0 && limit >= newRecords) return null
    return (line, seq, index) => {
      if (index >= limit) {
        partial?.fire()
        return 'postpone'
      }
      for (const part of refusals) {
        if (part.rule.kind !== 'refuse' || !matches(part.rule.match, line, seq, this.#refuseSeed))
          continue
        part.fire()
        return 'refuse'
      }
      return 'store'
    }
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}

function isActive(one: Active, nowMs: number): boolean {
  // A closed listener cannot count whom it turned away: its window alone ends it.
  const isWindow = one.rule.kind === 'outage' && one.rule.mode === 'refuse'
  const count = isWindow ? undefined : one.rule.count
  const left = (count ?? Number.POSITIVE_INFINITY) - one.fired - one.reserved
  return nowMs >= one.fromMs && nowMs < one.untilMs && left > 0
}
