/** The same load on Sluice and on a peer with each of its setups, in turn, and their ratios. */
import { canCompilePublisher } from './compiled-publisher.ts'
import { type Goal, judged, notMeasured } from './goals.ts'
import { type Settings, withSystem } from './group.ts'
import { isPublisherBound, type LoadFigures, type LoadOptions, measureLoad } from './load.ts'
import type { Peer } from './peers.ts'
import { median, ratios, spread } from './statistics.ts'
import { type System, startSluice } from './systems.ts'

export type Load = Pick<LoadOptions, 'qos' | 'window' | 'shape' | 'subscribers'>
/** One of the figures. */
type Figure = (load: LoadFigures) => number | null

export const acked: Figure = (load) => load.ackedPerSecond
export const delivered: Figure = (load) => load.deliveredPerSecond
export const copied: Figure = (load) => load.copiesPerSecond

export function values(loads: readonly LoadFigures[], of: Figure): number[] {
  return loads.map((load) => of(load) ?? Number.NaN)
}

function figures(name: string, loads: readonly LoadFigures[]): string {
  const has = (of: Figure): boolean => loads.every((load) => of(load) !== null)
  const show = (of: Figure, digits = 0): string => spread(values(loads, of), digits)
  return [
    `  ${name.padEnd(19)} ${show(acked)} acked/s`,
    `p50 ${show((f) => f.p50Ms, 1)} ms, p99 ${show((f) => f.p99Ms, 1)} ms`,
    ...(has(delivered) ? [`${show(delivered)} acked and delivered/s`] : []),
    ...(has(copied) ? [`${show(copied)} copies/s to subscribers`] : []),
    `${show((f) => f.cpuMicrosPerMessage, 2)} us of processor a message`,
    `${show((f) => f.diskBytesPerPayloadByte, 2)} disk bytes per payload byte`,
    `RssAnon ${show((f) => f.rssAnonMb)} MB`,
    `publisher ${show((f) => f.publisherBusy * 100)} % of a core`,
  ].join(', ')
}

/** Loads of Sluice, and of each setup of a peer, one for each round. */
export interface Compared {
  readonly mine: LoadFigures[]
  readonly others: ReadonlyArray<{ readonly name: string; readonly loads: LoadFigures[] }>
}

/** Sluice and the peer with each of its setups in turn, round by round. */
export async function inTurn(
  settings: Settings,
  load: Load,
  peer: Peer | null,
  use: (system: System, loaded: LoadFigures) => Promise<void> = async () => undefined,
): Promise<Compared> {
  const mine: LoadFigures[] = []
  const others = (peer?.version === null ? [] : (peer?.setups ?? [])).map((setup) => ({
    name: `${peer?.name} ${setup.name}`,
    start: () => setup.start(),
    loads: [] as LoadFigures[],
  }))
  for (let round = 0; round < settings.rounds; round++) {
    for (const { start, loads } of [{ start: () => startSluice(), loads: mine }, ...others]) {
      await withSystem(start, async (system) => {
        const { seconds, seed } = settings
        const loaded = await measureLoad(system, {
          ...load,
          seconds,
          seed: seed + round,
          drain: true,
        })
        await use(system, loaded)
        loads.push(loaded)
      })
    }
  }
  const { count, qos } = load.subscribers ?? { count: 0, qos: 0 }
  const beside = count === 0 ? '' : `, local subscribers on # at QoS ${qos}: ${count}`
  settings.say(
    `QoS ${load.qos}, 50 devices, ${load.window} in flight each, readings: ${load.shape}${beside}; ${settings.rounds} rounds`,
  )
  settings.say(figures('Sluice', mine))
  for (const { name, loads } of others) settings.say(figures(name, loads))
  return { mine, others }
}

/**
 * Against the peer's better setup. No ratio where the publisher took so much of a core that it may
 * have been the limit of either side.
 */
export function against(
  measure: string,
  atLeast: number,
  compared: Compared,
  of: Figure,
  ofPeer: Figure = of,
): Goal {
  const wanted = `>= ${atLeast} x`
  const rate = (loads: readonly LoadFigures[]): number => median(values(loads, ofPeer))
  const best = compared.others.toSorted((a, b) => rate(b.loads) - rate(a.loads))[0]
  if (best === undefined) return notMeasured(measure, wanted, 'the peer is not installed')
  if (isPublisherBound(compared.mine) || isPublisherBound(best.loads)) {
    return notMeasured(measure, wanted, `publisher-bound${canCompilePublisher() ? '' : ': no gcc'}`)
  }
  const note = `against ${compared.others.map(({ name, loads }) => `${name} ${rate(loads).toFixed(0)}/s`).join(', ')}`
  return judged(
    { measure, atLeast, unit: 'x', note },
    ratios(values(compared.mine, of), values(best.loads, ofPeer)),
  )
}
