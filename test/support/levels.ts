/** Which device of a test's fleet speaks which version of MQTT: half and half, dealt by the seed. */
import { Random } from '../../device-sim/random.ts'
import type { Level } from './mqtt-answers.ts'

/** What devices of campaigns speak; one of them alone narrows a fault down. */
const LEVELS: readonly Level[] = [4, 5]

/** Each device with its version; both are among any two of them. */
export function dealLevels<T>(
  seed: number | string,
  devices: readonly T[],
): Array<T & { readonly level: Level }> {
  const random = new Random(seed, 'levels')
  const order = devices.map((device) => ({ device, at: random.next() }))
  const dealt = new Map(
    order
      .toSorted((left, right) => left.at - right.at)
      .map(({ device }, place) => [device, LEVELS[place % LEVELS.length] as Level]),
  )
  return devices.map((device) => ({ ...device, level: dealt.get(device) as Level }))
}
