/**
 * How fast each type of sink brings a backlog to a receiver on this machine, beside a program that
 * brings the same batches there bare: in turns, so that the ratio of a pair says what the gateway
 * takes or gives.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { missingLine, missingTools } from '../../support/tools.ts'
import { type Goal, judged, notMeasured } from '../goals.ts'
import type { Group, Settings } from '../group.ts'
import { Backlog } from '../sinks/backlog.ts'
import type { Contest, OpenReceiver, Place, Rate } from '../sinks/contest.ts'
import { CONTESTS } from '../sinks/contests.ts'
import { bareRate, gatewayRate } from '../sinks/runs.ts'
import { ratios, spread } from '../statistics.ts'

const WANTED = 0.8
/** A slow type does not need to copy the spool of a fast one. */
const SMALL_BACKLOG = 200_000

type Run = (backlog: Backlog, place: Place, records: number) => Promise<Rate>

async function stored(
  run: Run,
  backlog: Backlog,
  receiver: OpenReceiver,
  records: number,
): Promise<Rate> {
  const place = await receiver.place()
  const rate = await run(backlog, place, records)
  const count = await place.stored()
  if (count < records) throw new Error(`the receiver has ${count} of ${records} records`)
  return rate
}

async function compare(contest: Contest, backlog: Backlog, settings: Settings): Promise<Goal> {
  const { name, about, records } = contest
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-receiver-'))
  const mine: Rate[] = []
  const bare: Rate[] = []
  const receiver = await contest.open(folder)
  try {
    for (let round = 0; round < settings.rounds; round += 1) {
      const runs = [
        async () => void mine.push(await stored(gatewayRate, backlog, receiver, records)),
        async () => void bare.push(await stored(bareRate, backlog, receiver, records)),
      ]
      for (const run of round % 2 === 0 ? runs : runs.toReversed()) await run()
    }
  } finally {
    await receiver.close()
    rmSync(folder, { recursive: true, force: true })
  }
  const rates = (all: readonly Rate[]): number[] => all.map((one) => one.recordsPerSecond)
  const costs = (all: readonly Rate[]): string =>
    spread(
      all.map((one) => one.cpuMicrosPerRecord),
      1,
    )
  const note =
    `${spread(rates(mine))} against ${spread(rates(bare))} records/s, ` +
    `${costs(mine)} against ${costs(bare)} us of processor a record; ${about}`
  settings.say(`  ${name.padEnd(18)} ${spread(ratios(rates(mine), rates(bare)), 2)} x: ${note}`)
  const wanted = { measure: `sink ${name}, against bare`, atLeast: WANTED, unit: 'x', note }
  return judged(wanted, ratios(rates(mine), rates(bare)))
}

/** One that fails takes nothing of the others' figures along. */
async function compared(contest: Contest, backlog: Backlog, settings: Settings): Promise<Goal> {
  try {
    return await compare(contest, backlog, settings)
  } catch (error) {
    return notMeasured(`sink ${contest.name}`, '', `failed: ${String(error)}`)
  }
}

export const sinks: Group = {
  name: 'sinks',
  about: 'catch-up of each type of sink into a local receiver, beside the bare client or loop',
  run: async (settings) => {
    const chosen = CONTESTS.filter(
      ({ name }) => settings.sinks.length === 0 || settings.sinks.includes(name),
    )
    const backlogs = new Map<boolean, Backlog>()
    const goals: Goal[] = []
    try {
      for (const contest of chosen) {
        const missing = missingTools(contest.tools)
        if (missing.length > 0) {
          goals.push(notMeasured(`sink ${contest.name}`, '', missingLine(missing)))
          continue
        }
        const isSmall = contest.records <= SMALL_BACKLOG
        const most = Math.max(...chosen.map(({ records }) => records))
        const backlog =
          backlogs.get(isSmall) ??
          (await Backlog.make(isSmall ? SMALL_BACKLOG : most, settings.seed))
        backlogs.set(isSmall, backlog)
        goals.push(await compared(contest, backlog, settings))
      }
    } finally {
      for (const backlog of backlogs.values()) backlog.remove()
    }
    return goals
  },
}
