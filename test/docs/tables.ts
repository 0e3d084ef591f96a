/**
 * The tables that are made from the code. They stand in their documents between
 * `<!-- table: name -->` and `<!-- end -->`.
 */
import { describeKeys } from '../../gateway/config/keys/describe.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { METRICS } from '../../gateway/observe/metrics/table.ts'
import { CLUSTER_COST_HEAD, clusterCostRows } from '../bench/cost-model.ts'
import { SCALE_HEAD, scaleRows } from '../bench/scale-simulation.ts'
import { CASES } from '../conformance/cases.ts'

export const TABLES: Readonly<Record<string, () => string>> = {
  configuration: () =>
    table(
      ['key', 'default', 'change', 'meaning'],
      describeKeys(SCHEMA.root).map(({ path, only, default: value, effect, text }) => [
        only === null ? `\`${path}\`` : `\`${path}\` (${only.key} ${only.value})`,
        `\`${value}\``,
        effect ?? '',
        text,
      ]),
    ),
  metrics: () =>
    table(
      ['metric', 'type', 'labels', 'meaning'],
      METRICS.map((metric) => [
        `\`${metric.name}\``,
        metric.type,
        metric.labels.map((label) => `\`${label}\``).join(', '),
        metric.help,
      ]),
    ),
  scale: () => table(CLUSTER_COST_HEAD, clusterCostRows()),
  simulated: () => table(SCALE_HEAD, scaleRows(1)),
  conformance: () =>
    table(
      ['statement', 'in MQTT', 'shown by'],
      [...statements('3.1.1', 'v3'), ...statements('5', 'v5')],
    ),
}

/** A row for each number, in the standard's order. */
function statements(version: string, key: 'v3' | 'v5'): string[][] {
  const entries = new Map<string, string[]>()
  for (const each of CASES)
    for (const number of each[key]) entries.set(number, [...(entries.get(number) ?? []), each.what])
  return [...entries]
    .toSorted(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
    .map(([number, whats]) => [`MQTT-${number}`, version, whats.join('; ')])
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(escapeCell).join(' | ')} |`
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n')
}

/** In a table a bar ends the cell, code or not; outside code `<name>` would be taken for HTML. */
function escapeCell(text: string): string {
  return text
    .replaceAll('|', '\\|')
    .replaceAll('\n', ' ')
    .split('`')
    .map((part, i) => (i % 2 === 1 ? part : part.replaceAll('<', '\\<')))
    .join('`')
}

const PLACE = /(<!-- table: (\w+) -->\n)([\s\S]*?)(<!-- end -->)/g

/** What is between the marks now, by name. */
export function tablesIn(text: string): Map<string, string> {
  return new Map(
    [...text.matchAll(PLACE)].map((match) => [match[2] ?? '', (match[3] ?? '').trimEnd()]),
  )
}

/** The text with its tables made anew. */
export function withTables(text: string): string {
  return text.replace(PLACE, (_, open: string, name: string, __, end: string) => {
    const render = TABLES[name]
    return render === undefined ? `${open}${end}` : `${open}\n${render()}\n\n${end}`
  })
}
