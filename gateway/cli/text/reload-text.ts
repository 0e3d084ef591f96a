/** What a reload did, or would do, at a terminal. */
import { formatDuration } from '../../config/units.ts'
import type {
  ReloadChange,
  ReloadOptions,
  ReloadOutcome,
  ReloadPlan,
} from '../../ports/operator.ts'
import { counted, plain } from '../../shared/text/words.ts'
import type { Output } from './output.ts'

const EFFECTS: Readonly<Record<ReloadChange['effect'], string>> = {
  live: 'at once',
  replaced: 'its sink or listener is replaced',
  restart: 'needs a restart',
}

export function reloadText(
  { applied, plan, problems }: ReloadOutcome,
  { dryRun, probationMs }: ReloadOptions,
): string {
  const { changes, refused } = plan
  const lines = [planText(plan)]
  if (problems.length > 0) lines.push(`refused, nothing changed:\n${listed(problems)}`)
  else if (refused.length > 0) {
    const keys = refused.map(({ key, why }) => `${key}: ${why}`)
    lines.push(`refused, nothing changed:\n${listed(keys)}`)
  } else if (dryRun && changes.length > 0) lines.push('nothing was changed: --dry-run')
  else if (applied) {
    const back = `a sink that was fine is held, or a listener fails, within ${formatDuration(probationMs)}`
    lines.push(probationMs === 0 ? 'applied' : `applied; it goes back by itself if ${back}`)
  }
  return `${plain(lines.join('\n'))}\n`
}

/** As a start writes them; a gateway of an older version gives none. */
export function writeWarnings(warnings: readonly string[] | undefined, to: Output): void {
  for (const warning of warnings ?? []) to.write(`warning: ${plain(warning)}\n`)
}

/** One line for each key. */
export function planText({ changes }: ReloadPlan): string {
  if (changes.length === 0) return 'nothing differs from what is in force'
  const rows = changes.map(
    ({ key, from, to, effect }) => `  ${key}: ${shown(from)} -> ${shown(to)} (${EFFECTS[effect]})`,
  )
  return `${counted(changes.length, 'key')} ${changes.length === 1 ? 'differs' : 'differ'} from what is in force:\n${rows.join('\n')}`
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function listed(sentences: readonly string[]): string {
  return sentences.map((sentence) => `  ${sentence}`).join('\n')
}
