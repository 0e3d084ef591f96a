/**
 * Processor time of a message as streams and devices grow in number. With a backlog:
 * groups/backlog.ts.
 */
import { type Goal, judged } from '../goals.ts'
import { type Group, type Settings, withSluice, withSystem } from '../group.ts'
import { type LoadFigures, type LoadOptions, measureLoad, notes, paceNote } from '../load.ts'
import { ackIntervalMs, startReference } from '../reference.ts'
import { ratios, spread } from '../statistics.ts'

export const FLAT_WITHIN = 1.15
const RATE = 10_000
/** For every number of streams, so that each of 100 has its device. */
const STREAM_DEVICES = 100

/** Device by device to the streams in turn. */
export function streamTopics(streams: number): string[][] {
  return Array.from({ length: streams }, (_, stream) =>
    Array.from({ length: STREAM_DEVICES }, (_, device) => device)
      .filter((device) => device % streams === stream)
      .map((device) => `plant/bench-${device}/#`),
  )
}

interface Variant {
  readonly label: string
  readonly streams: ReadonlyArray<readonly string[]>
  readonly devices: number
}

/**
 * Of each variant: the gateway's figures, and those of a bare server that acknowledges as often.
 */
interface Costs {
  readonly mine: LoadFigures[]
  readonly bare: LoadFigures[]
}

async function costs(settings: Settings, variants: readonly Variant[]): Promise<Costs[]> {
  const all: Costs[] = variants.map(() => ({ mine: [], bare: [] }))
  for (let round = 0; round < settings.rounds; round++) {
    for (const [i, { streams, devices }] of variants.entries()) {
      const load: LoadOptions = {
        seconds: settings.seconds,
        seed: settings.seed + round,
        devices,
        messagesPerSecond: RATE,
      }
      // Without small commits at once every variant commits at the same pace from its first message
      // on.
      const mine = await withSluice({ streams, commitBurst: 0 }, (system) =>
        measureLoad(system, load),
      )
      const bare = await withSystem(
        () => startReference(ackIntervalMs(mine)),
        (system) => measureLoad(system, load),
      )
      all[i]?.mine.push(mine)
      all[i]?.bare.push(bare)
    }
  }
  for (const [i, { mine, bare }] of all.entries()) {
    settings.say(
      `  ${variants[i]?.label}: ${micros(mine)} us a message at ${spread(mine.map((l) => l.ackedPerSecond))} acked/s, ` +
        `${spread(mine.map((l) => l.commitsPerSecond ?? Number.NaN))} commits/s; bare server ${micros(bare)} us`,
    )
  }
  return all
}

function micros(loads: readonly LoadFigures[]): string {
  return spread(
    loads.map((l) => l.cpuMicrosPerMessage),
    1,
  )
}

function flat(measure: string, over: Costs, under: Costs): Goal {
  const ratio = (which: keyof Costs): number[] =>
    ratios(
      over[which].map((l) => l.cpuMicrosPerMessage),
      under[which].map((l) => l.cpuMicrosPerMessage),
    )
  const note = notes(
    `${micros(over.mine)} against ${micros(under.mine)} us; a bare server ${micros(over.bare)} against ` +
      `${micros(under.bare)} us, ${spread(ratio('bare'), 2)} x`,
    paceNote([...over.mine, ...under.mine], RATE),
  )
  return judged({ measure, atMost: FLAT_WITHIN, unit: 'x', note }, ratio('mine'))
}

export const growth: Group = {
  name: 'growth',
  about: 'processor time of a message at 1, 10 and 100 streams, at 10 and 5,000 devices',
  run: async (settings) => {
    const byStreams = await costs(
      settings,
      [1, 10, 100].map((n) => ({
        label: `${n} streams`,
        streams: streamTopics(n),
        devices: STREAM_DEVICES,
      })),
    )
    const byDevices = await costs(
      settings,
      [10, 5000].map((devices) => ({ label: `${devices} devices`, streams: [['#']], devices })),
    )
    const [one, ten, hundred] = byStreams as [Costs, Costs, Costs]
    const [few, many] = byDevices as [Costs, Costs]
    return [
      flat('processor per message, 10 streams against 1', ten, one),
      flat('processor per message, 100 streams against 1', hundred, one),
      flat('processor per message, 5,000 devices against 10', many, few),
    ]
  },
}
