/**
 * Simulated days of the pure parts: the fast selection, and for each check a wrong policy that it
 * catches. `SLUICE_SEED` repeats a run.
 */
import { describe, expect, it } from 'vitest'
import { Random } from '../../../device-sim/random.ts'
import { Pacer } from '../../../gateway/drain/policy/pacer.ts'
import { Scheduler } from '../../../gateway/drain/policy/scheduler.ts'
import { SinkWaits, type SinkWaitsOptions } from '../../../gateway/drain/sink-waits.ts'
import { Pace, type PaceOptions } from '../../../gateway/spool/commit/pace.ts'
import { doomedBlocks } from '../../../gateway/spool/retention/retention.ts'
import { SEED } from '../../support/seed.ts'
import { campaign } from './campaign.ts'
import { type Pacing, simulatePacing } from './pacing.ts'
import { simulateRate } from './rate.ts'
import type { Simulated } from './result.ts'
import { type Retaining, simulateRetaining } from './retaining.ts'
import { type Scheduling, simulateScheduling } from './scheduling.ts'
import { simulateWaits } from './waits.ts'

/** Of each simulation. */
const RUNS = 20
/** Not every configuration shows every defect. */
const PLANTED_RUNS = 12

/**
 * Sentences about a wrong policy. Always the same days, so that what is caught does not depend on
 * the day.
 */
function caught(simulate: (random: Random) => Simulated): string {
  const runs = Array.from({ length: PLANTED_RUNS }, (_, i) => simulate(new Random(i, 'planted')))
  return runs.flatMap(({ faults }) => faults).join('\n')
}

describe(`simulated days (SLUICE_SEED=${SEED})`, () => {
  it('I1 to I3, I6, I8: pacing, rate, shares, waits, retention and sessions keep their promises', async (context) => {
    const { faults, failures } = await campaign({
      runs: RUNS,
      seed: SEED,
      say: (line) => void context.annotate(line),
    })
    expect(failures).toEqual([])
    for (const [what, count] of Object.entries(faults)) expect(count, what).toBeGreaterThan(0)
  }, 60_000)
})

it.each(['504-1129', '504-4529', '504-6928'])(
  'an interval that rounding makes a little short costs its commit, too (%s)',
  (seed) => {
    expect(simulatePacing(new Random(seed, 'pacing'), 5).faults).toEqual([])
  },
)

describe('a wrong pace of commits', () => {
  const withPace = (newPace: (options: PaceOptions, nowMs: number) => Pacing): string =>
    caught((random) => simulatePacing(random, 2, newPace))

  it('that never takes from its budget is caught', () => {
    const generous = (options: PaceOptions, nowMs: number): Pacing =>
      new Pace({ ...options, commitBurst: options.commitBurst + 10_000 }, nowMs)
    expect(withPace(generous)).toContain('more small commits')
  })

  it('that waits for two intervals is caught', () => {
    const slow = (options: PaceOptions, nowMs: number): Pacing =>
      new Pace({ ...options, commitIntervalMs: options.commitIntervalMs * 2 }, nowMs)
    expect(withPace(slow)).toContain('later than commitInterval')
  })

  it('that lets a commit wait that has enough is caught', () => {
    class Greedy extends Pace {
      override sufficientBytes(): number {
        return Number.POSITIVE_INFINITY
      }
    }
    expect(withPace((options, nowMs) => new Greedy(options, nowMs))).toContain(
      'enough for a commit waited',
    )
  })

  it('that does not learn from a stall is caught', () => {
    class Stubborn extends Pace {
      override stalled(): void {}
    }
    expect(withPace((options, nowMs) => new Stubborn(options, nowMs))).toContain(
      'enough for a commit waited',
    )
  })
})

describe('a wrong rate', () => {
  it('that saves up what was not used is caught', () => {
    const saving = (rate: number): Pick<Pacer, 'sent' | 'readyAtMs'> => {
      let readyAtMs = 0
      return {
        sent: (bytes) => {
          readyAtMs += (bytes * 1_000) / rate
        },
        get readyAtMs() {
          return readyAtMs
        },
      }
    }
    expect(caught((random) => simulateRate(random, 0.2, saving))).toContain('bytes over')
  })

  it('that waits for longer than it must is caught', () => {
    const timid = (rate: number): Pacer => new Pacer(rate / 2)
    expect(caught((random) => simulateRate(random, 0.2, timid))).toContain(
      'longer than the rate asks',
    )
  })
})

describe('a wrong order of streams', () => {
  it('that starves the lower priorities is caught', () => {
    const strict = (streams: readonly { readonly name: string }[]): Scheduling => ({
      pick: (ready) => streams.find(({ name }) => ready.includes(name))?.name ?? null,
      served: () => undefined,
    })
    expect(caught((random) => simulateScheduling(random, 1, strict))).toContain('owed')
  })

  it('that knows no priorities is caught', () => {
    const equal = (streams: readonly { readonly name: string }[]): Scheduling =>
      new Scheduler(streams.map(({ name }) => ({ name, priority: 5 })))
    expect(caught((random) => simulateScheduling(random, 1, equal))).toContain('first priority')
  })
})

describe('a wrong wait', () => {
  const withWaits = (change: (options: SinkWaitsOptions) => Partial<SinkWaitsOptions>): string =>
    caught((random) =>
      simulateWaits(random, 3, (options) => new SinkWaits({ ...options, ...change(options) })),
    )

  it('that forgets a Retry-After with a restart is caught', () => {
    const told = withWaits(({ notes }) => {
      notes.setWait = (): void => undefined
      return {}
    })
    expect(told).toContain('before Retry-After is over')
  })

  it('that backs off for too short or too long, or without jitter, is caught', () => {
    const rules = (changes: Partial<SinkWaitsOptions['rules']>) => (options: SinkWaitsOptions) => ({
      rules: { ...options.rules, ...changes },
    })
    expect(withWaits(rules({ backoffBaseMs: 100 }))).toContain('ms only')
    expect(withWaits(rules({ backoffCapMs: 300_000 }))).toContain('backs off for')
    expect(withWaits(() => ({ random: () => 0.5 }))).toContain('jitter of')
  })

  it('that asks a held sink too often, or spreads a recovery too far, is caught', () => {
    expect(withWaits(({ rules }) => ({ rules: { ...rules, probeMs: 10_000 } }))).toContain(
      'a probe of a hold',
    )
    const far = ({ config }: SinkWaitsOptions): Partial<SinkWaitsOptions> => ({
      config: { ...config, recoveryJitter: config.recoveryJitter * 3 },
    })
    expect(withWaits(far)).toContain('after an ack')
  })
})

describe('a wrong retention', () => {
  const withRetention = (doomed: Retaining['doomed']): string =>
    caught((random) => simulateRetaining(random, 5, { doomed }))

  it('that drops one block too many, or one too few, is caught', () => {
    const greedy: Retaining['doomed'] = (state, index, from, wanted) => {
      let isLast = false
      return doomedBlocks(state, index, from, (meta, freed) => {
        const wants: boolean = !isLast
        isLast = !wanted(meta, freed)
        return wants
      })
    }
    expect(withRetention(greedy)).toContain('drops blocks')
    const lazy: Retaining['doomed'] = (...of) => doomedBlocks(...of).slice(0, -1)
    expect(withRetention(lazy)).toContain('drops blocks')
  })

  it('that takes the batch in flight, or the youngest, is caught', () => {
    const blind: Retaining['doomed'] = (state, index, _, wanted) =>
      doomedBlocks(state, index, state.head.ordinal, wanted)
    expect(withRetention(blind)).toContain('drops blocks')
    const youngest: Retaining['doomed'] = (state, index, from, wanted) => {
      const doomed = doomedBlocks(state, index, from, wanted)
      const meta = index.tail.at(-1)
      const ordinal = index.nextOrdinal - 1
      return doomed.length === 0 || !meta
        ? doomed
        : [{ ordinal, meta, firstSeq: meta.firstSeq, count: meta.count }]
    }
    expect(withRetention(youngest)).toContain('drops blocks')
  })

  it('that counts what was settled already is caught', () => {
    const careless: Retaining['doomed'] = (...of) =>
      doomedBlocks(...of).map((one) => ({
        ...one,
        firstSeq: one.meta.firstSeq,
        count: one.meta.count,
      }))
    expect(withRetention(careless)).toContain('counts')
  })

  it('that lets one batch cover a stream, so that drop-oldest waits for the sink, is caught', () => {
    const whole = { pinnedShare: Number.POSITIVE_INFINITY }
    expect(
      caught((random) => simulateRetaining(random, 5, { ...whole, room: (maxBytes) => maxBytes })),
    ).toContain('waits for the sink')
    expect(caught((random) => simulateRetaining(random, 5, whole))).toContain('stored, of')
  })
})
