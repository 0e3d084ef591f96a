/**
 * A door: open or closed, how often, how long, and whose badge opened it. Strings where the others
 * have numbers.
 */
import type { Random } from '../random.ts'
import type { Values } from './values.ts'

const BADGES = 40

export function doorValues(random: Random): Values {
  const badges = Array.from({ length: BADGES }, () => random.uint32().toString(16).padStart(8, '0'))
  let open = false
  let count = random.below(5000)
  let lastMs: number | null = null
  return (atMs) => {
    const heldMs = lastMs === null ? 0 : atMs - lastMs
    lastMs = atMs
    open = !open
    if (open) count++
    const badge = badges[random.below(BADGES)] ?? ''
    const forced = open && random.chance(0.002)
    return `"state":"${open ? 'open' : 'closed'}","count":${count},"heldMs":${heldMs + random.below(900)},"badge":"${forced ? '' : badge}","forced":${forced},"rssi":${-40 - random.below(45)}`
  }
}
