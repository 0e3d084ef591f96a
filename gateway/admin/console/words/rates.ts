/** Readings a second, as precise as they are. Pure. */
import { count } from '../../../shared/text/words.ts'

/** `0`, `0.3`, `1,204`; null, not known yet: `…`. */
export function rateText(perSecond: number | null): string {
  if (perSecond === null) return '…'
  return perSecond > 0 && perSecond < 10 ? String(Number(perSecond.toFixed(1))) : count(perSecond)
}
