/**
 * Which device of a test's fleet speaks which version of MQTT, dealt by the seed. All fleets of the
 * campaigns have their versions from here.
 */
import { Random } from '../../device-sim/random.ts'
import type { Level } from './mqtt-answers.ts'

/** A device that changes speaks another version on each connection than on the one before. */
export type Speech = Level | 'changing'

/** What devices of campaigns speak; one of them alone narrows a fault down. */
const LEVELS: readonly Level[] = [4, 5]
const SPEECHES: readonly Speech[] = [...LEVELS, 'changing']

/** Each device with its version; both are among any two of them, half and half. */
export function dealLevels<T>(
  seed: number | string,
  devices: readonly T[],
): Array<T & { readonly level: Level }> {
  return deal(seed, devices, LEVELS)
}

/** The same for devices whose session outlives their connections: some change their version. */
export function dealSpeeches<T>(
  seed: number | string,
  devices: readonly T[],
): Array<T & { readonly level: Speech }> {
  return deal(seed, devices, SPEECHES)
}

function deal<T, L extends Speech>(
  seed: number | string,
  devices: readonly T[],
  levels: readonly L[],
): Array<T & { readonly level: L }> {
  const random = new Random(seed, 'levels')
  const order = devices.map((device) => ({ device, at: random.next() }))
  const dealt = new Map(
    order
      .toSorted((left, right) => left.at - right.at)
      .map(({ device }, place) => [device, levels[place % levels.length] as L]),
  )
  return devices.map((device) => ({ ...device, level: dealt.get(device) as L }))
}

/** What a device speaks on its connection number `connection`, from 0. */
export function levelAt(speech: Speech, connection: number): Level {
  return speech === 'changing' ? (LEVELS[connection % LEVELS.length] as Level) : speech
}

/**
 * For devices that come one after the other: the version of the next one. Of the first two, the
 * next two and so on, each has another one.
 */
export function levelsInTurn(seed: number | string): () => Level {
  const random = new Random(seed, 'levels in turn')
  let left: Level[] = []
  return () => {
    if (left.length === 0) left = random.chance(0.5) ? [...LEVELS] : LEVELS.toReversed()
    return left.pop() as Level
  }
}
