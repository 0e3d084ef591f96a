/** What a reload would do, or did, in words. Pure. */
import type { ReloadChange, ReloadOutcome } from '../../../ports/operator.ts'
import { counted } from '../../../shared/text/words.ts'

export const EFFECT_WORDS: Readonly<Record<ReloadChange['effect'], string>> = {
  live: 'at once',
  replaced: 'by replacing the sink or listener',
  restart: 'with the next start',
}

/** Of a key: text as it is, the rest as JSON; what is not there is `none`. */
export function valueText(value: unknown): string {
  if (value === undefined || value === null) return 'none'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

export function reloadText(outcome: ReloadOutcome): string {
  return [doneText(outcome), ...outcome.warnings.map((text) => `Warning: ${text}`)].join(' ')
}

function doneText({ applied, plan, problems }: ReloadOutcome): string {
  if (applied) return `${counted(plan.changes.length, 'change')} applied.`
  const why = [...problems, ...plan.refused.map(({ key, why }) => `${key}: ${why}`)]
  return `Nothing was changed${why.length === 0 ? '.' : `: ${why.join('; ')}`}`
}
