/** Processor time of a message as streams and devices grow in number. With a backlog: groups/backlog.ts. */
import { type Goal, judged } from '../goals.ts'
import { type Group, type Settings, withSluice } from '../group.ts'
import { type LoadFigures, measureLoad, notes, paceNote } from '../load.ts'
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

async function costs(settings: Settings, variants: readonly Variant[]): Promise<LoadFigures[][]> {
  const all: LoadFigures[][] = variants.map(() => [])
  for (let round = 0; round < settings.rounds; round++) {
    for (const [i, { streams, devices }] of variants.entries()) {
      // Without small commits at once every variant commits at the same pace from its first message on.
      const loaded = await withSluice({ streams, commitBurst: 0 }, (system) =>
        measureLoad(system, {
          seconds: settings.seconds,
          seed: settings.seed + round,
          devices,
          messagesPerSecond: RATE,
        }),
      )
      all[i]?.push(loaded)
    }
  }
  for (const [i, loads] of all.entries()) {
    settings.say(
      `  ${variants[i]?.label}: ${spread(
        loads.map((l) => l.cpuMicrosPerMessage),
        1,
      )} us a message at ${spread(loads.map((l) => l.ackedPerSecond))} acked/s, ` +
        `${spread(loads.map((l) => l.commitsPerSecond ?? Number.NaN))} commits/s`,
    )
  }
  return all
}

function flat(measure: string, over: readonly LoadFigures[], under: readonly LoadFigures[]): Goal {
  const micros = (loads: readonly LoadFigures[]): number[] => loads.map((l) => l.cpuMicrosPerMessage)
  const note = notes(
    `${spread(micros(over), 1)} against ${spread(micros(under), 1)} us`,
    paceNote([...over, ...under], RATE),
  )
  return judged({ measure, atMost: FLAT_WITHIN, unit: 'x', note }, ratios(micros(over), micros(under)))
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
    const [one = [], ten = [], hundred = []] = byStreams
    const [few = [], many = []] = byDevices
    return [
      flat('processor per message, 10 streams against 1', ten, one),
      flat('processor per message, 100 streams against 1', hundred, one),
      flat('processor per message, 5,000 devices against 10', many, few),
    ]
  },
}
