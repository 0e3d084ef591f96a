/**
 * The dashboard, the scrape configuration and the alert rules against the metrics that the gateway
 * really has: a panel or an alert on a metric that does not exist is worse than none.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { Metrics } from '../../gateway/observe/metrics/metrics.ts'
import { METRICS } from '../../gateway/observe/metrics/table.ts'
import { testWithTool } from '../support/tool-tests.ts'
import { findTool } from '../support/tools.ts'
import { fakeSources, NOW_MS } from './fake-sources.ts'
import { usage, withoutVariables } from './promql.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const DASHBOARDS = join(ROOT, 'dashboards/grafana/dashboards')
const PROMETHEUS = join(ROOT, 'dashboards/prometheus')

/** Labels that Prometheus adds. */
const TARGET_LABELS = ['instance', 'job']

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly datasource?: { readonly type: string; readonly uid: string }
  readonly gridPos: {
    readonly x: number
    readonly y: number
    readonly w: number
    readonly h: number
  }
  readonly fieldConfig?: {
    readonly defaults: {
      readonly noValue?: string
      readonly thresholds?: {
        readonly steps: readonly { readonly color: string; readonly value: number | null }[]
      }
    }
  }
  readonly targets?: readonly {
    readonly expr: string
    readonly legendFormat: string
    readonly refId: string
    readonly instant?: boolean
  }[]
}

interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly schemaVersion: number
  readonly panels: readonly Panel[]
  readonly annotations: { readonly list: readonly { readonly expr?: string }[] }
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly definition?: string }[]
  }
}

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly labels: { readonly severity: string }
  readonly annotations: {
    readonly summary: string
    readonly description: string
    readonly runbook: string
  }
}

const dashboards = readdirSync(DASHBOARDS)
  .filter((file) => file.endsWith('.json'))
  .map((file) => JSON.parse(readFileSync(join(DASHBOARDS, file), 'utf8')) as Dashboard)

const rules = (
  parse(readFileSync(join(PROMETHEUS, 'rules.yml'), 'utf8')) as {
    groups: readonly { rules: readonly Rule[] }[]
  }
).groups.flatMap((group) => group.rules)

/** Labels by sample name, our own table and what prom-client says of the process. */
async function known(): Promise<Map<string, readonly string[]>> {
  const labels = new Map<string, readonly string[]>([['up', []]])
  for (const metric of METRICS) {
    if (metric.type !== 'histogram') labels.set(metric.name, metric.labels)
    else {
      labels.set(`${metric.name}_bucket`, [...metric.labels, 'le'])
      for (const end of ['sum', 'count']) labels.set(`${metric.name}_${end}`, metric.labels)
    }
  }
  const { state } = fakeSources()
  const observe = {
    events: {},
    suppressedLines: 0,
    droppedLines: 0,
    adminRequests: {},
    certificateEndsAtMs: {},
  }
  const text = await new Metrics().render({ nowMs: NOW_MS, ...state, observe, writtenBytes: 1 })
  for (const line of text.split('\n')) {
    const match = /^([a-z0-9_]+)(?:\{([^}]*)\})? /.exec(line)
    if (match?.[1] === undefined || labels.has(match[1])) continue
    const names = [...(match[2] ?? '').matchAll(/([a-z_]+)="/g)].map((each) => each[1] ?? '')
    labels.set(match[1], names)
  }
  return labels
}

/** What is wrong with an expression, in words; empty if nothing. */
function complaints(expression: string, labels: ReadonlyMap<string, readonly string[]>): string[] {
  const { selectors, grouping } = usage(expression)
  const wrong: string[] = []
  if (selectors.length === 0) wrong.push(`no metric in: ${expression}`)
  const all = new Set(TARGET_LABELS)
  for (const selector of selectors) {
    const has = labels.get(selector.metric)
    if (has === undefined) {
      wrong.push(`no such metric: ${selector.metric}`)
      continue
    }
    for (const label of has) all.add(label)
    for (const label of selector.labels)
      if (!has.includes(label) && !TARGET_LABELS.includes(label))
        wrong.push(`${selector.metric} has no label ${label}`)
  }
  for (const label of grouping)
    if (!all.has(label)) wrong.push(`no metric has the label ${label}: ${expression}`)
  return wrong
}

test('the check itself finds a wrong metric, a wrong label and a wrong grouping', async () => {
  const labels = await known()
  expect(complaints('sluice_spool_pending_records{stream="a",instance="b"}', labels)).toEqual([])
  expect(complaints('rate(sluice_spool_pending[5m])', labels)).toHaveLength(1)
  expect(complaints('sluice_spool_pending_records{topic="a"}', labels)).toHaveLength(1)
  expect(complaints('sum by (client) (sluice_spool_pending_records)', labels)).toHaveLength(1)
  expect(complaints('1', labels)).toHaveLength(1)
})

describe.each(dashboards)('dashboard $title', (dashboard) => {
  const panels = dashboard.panels.filter((panel) => panel.type !== 'row')

  test('every query of panels, variables and annotations uses metrics and labels that exist', async () => {
    const labels = await known()
    const queries = [
      ...panels.flatMap((panel) => (panel.targets ?? []).map((target) => target.expr)),
      ...dashboard.templating.list.flatMap(({ definition }) =>
        definition === undefined ? [] : [definition],
      ),
      ...dashboard.annotations.list.flatMap(({ expr }) => (expr === undefined ? [] : [expr])),
    ]
    expect(queries.length).toBeGreaterThan(30)
    expect(queries.flatMap((query) => complaints(query, labels))).toEqual([])
  })

  test('every variable in a query is defined, and every label in a legend is one that the query leaves', async () => {
    const names = new Set(dashboard.templating.list.map(({ name }) => name))
    for (const panel of panels)
      for (const { expr, legendFormat } of panel.targets ?? []) {
        for (const [, name = ''] of expr.matchAll(/\$([a-z]+)/g)) expect(names).toContain(name)
        const { grouping } = usage(expr)
        for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g))
          expect(grouping, panel.title).toContain(label)
      }
  })

  test('each panel has a description that cites a guarantee, a data source and queries of distinct names', () => {
    for (const panel of panels) {
      expect(panel.description, panel.title).toMatch(/\bI[1-9]\b/)
      expect(panel.datasource).toEqual({ type: 'prometheus', uid: `\${datasource}` })
      const refs = (panel.targets ?? []).map(({ refId }) => refId)
      expect(refs.length).toBeGreaterThan(0)
      expect(new Set(refs).size).toBe(refs.length)
    }
  })

  test('panels have ids of their own, lie within 24 columns and do not overlap', () => {
    const ids = dashboard.panels.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    const taken = new Set<string>()
    for (const { gridPos, title } of dashboard.panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken, `${title} at ${x},${y}`).not.toContain(`${x},${y}`)
          taken.add(`${x},${y}`)
        }
    }
  })

  test('a tile asks for this moment, and is red and says so when there is nothing to show', () => {
    const tiles = panels.filter(({ type }) => type === 'stat')
    expect(tiles.length).toBeGreaterThan(10)
    for (const { title, targets, fieldConfig } of tiles) {
      // The last value of a range would show a gateway that is gone as it was.
      expect(
        targets?.map(({ instant }) => instant),
        title,
      ).toEqual([true])
      expect(fieldConfig?.defaults.noValue, title).toMatch(/^(unknown|NOT SCRAPED)$/)
      expect(fieldConfig?.defaults.thresholds?.steps[0], title).toEqual({
        color: 'red',
        value: null,
      })
    }
  })

  test('a panel that shows only what is not zero says "none" instead of "No data"', () => {
    const filtered = panels.filter(({ targets }) =>
      targets?.every(({ expr }) => expr.endsWith(' > 0')),
    )
    expect(filtered.length).toBeGreaterThan(3)
    for (const { title, fieldConfig } of filtered)
      expect(fieldConfig?.defaults.noValue, title).toMatch(/^none/)
  })

  test('says in its first row whether gateways answer, messages are taken, sinks are well, how old the backlog is, and what disk is left', () => {
    const top = panels
      .filter(({ gridPos }) => gridPos.y === 1)
      .flatMap((panel) => (panel.targets ?? []).map(({ expr }) => expr))
    for (const metric of [
      'gateway_accepting',
      'spool_state',
      'sink_state',
      'oldest_age_seconds',
      'free_bytes',
      'up{job="sluice"',
    ])
      expect(
        top.some((expr) => expr.includes(metric)),
        metric,
      ).toBe(true)
  })
})

test('the dashboard is found by the provisioning, and its data source has the uid that compose provides', () => {
  const provider = parse(
    readFileSync(join(ROOT, 'dashboards/grafana/provisioning/dashboards/sluice.yml'), 'utf8'),
  ) as { apiVersion: number; providers: { type: string; options: { path: string } }[] }
  expect(provider.apiVersion).toBe(1)
  expect(provider.providers[0]).toMatchObject({
    type: 'file',
    options: { path: '/etc/grafana/dashboards' },
  })
  const source = parse(
    readFileSync(join(ROOT, 'dashboards/grafana/provisioning/datasources/prometheus.yml'), 'utf8'),
  ) as { datasources: { uid: string; type: string; url: string }[] }
  expect(source.datasources[0]).toMatchObject({ uid: 'prometheus', type: 'prometheus' })
})

describe('alert rules', () => {
  test('use metrics and labels that exist', async () => {
    const labels = await known()
    expect(rules.flatMap((rule) => complaints(rule.expr, labels))).toEqual([])
  })

  test('watch every state that needs a person', () => {
    const all = rules.map((rule) => rule.expr).join('\n')
    for (const state of ['storage-failed', 'read-only', 'held', 'retrying'])
      expect(all).toContain(`state="${state}"`)
  })

  test.each(rules)(
    '$alert says what is wrong, what it means, how bad it is, and where the runbook says what to do',
    (rule) => {
      expect(['critical', 'warning']).toContain(rule.labels.severity)
      expect(rule.annotations.summary.length).toBeGreaterThan(10)
      expect(rule.annotations.description.length).toBeGreaterThan(40)
      expect(rule.annotations.runbook).toBe(`dashboards/README.md of Sluice, section ${rule.alert}`)
      const labels = usage(rule.expr).selectors.flatMap(({ labels: each }) => each)
      for (const [, label = ''] of rule.annotations.summary.matchAll(/\$labels\.(\w+)/g))
        expect([
          ...labels,
          'instance',
          'stream',
          'sink',
          'reason',
          'outcome',
          'listener',
        ]).toContain(label)
    },
  )
})

function promtool(...args: string[]): string {
  try {
    return execFileSync(findTool('promtool')!, args, {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`promtool ${args.join(' ')}: ${stdout}${stderr}`, { cause: error })
  }
}

testWithTool('promtool', 'Prometheus accepts the configuration with its rules', () => {
  expect(promtool('check', 'config', join(PROMETHEUS, 'prometheus.yml'))).toContain('SUCCESS')
})

testWithTool('promtool', 'each alert fires on what it is for and is quiet otherwise', () => {
  const file = join(ROOT, 'test/observe/rules.unit.yml')
  expect(promtool('test', 'rules', file)).toContain('SUCCESS')
  const tested = readFileSync(file, 'utf8')
  for (const { alert } of rules) expect(tested, `${alert} has no unit test`).toContain(alert)
})

/**
 * Two gateways in good order, of which `b` is gone from the tenth minute on, as Prometheus sees it.
 */
const TWO_GATEWAYS = ['a', 'b'].flatMap((instance) => {
  const gone = instance === 'b'
  const of = (name: string, labels: string, value: number) => ({
    series: `${name}{instance="${instance}"${labels}}`,
    values: gone ? `${value}x9 stale` : `${value}x20`,
  })
  return [
    { series: `up{job="sluice",instance="${instance}"}`, values: gone ? '1x9 0x10' : '1x20' },
    of('sluice_gateway_accepting', '', 1),
    ...['ok', 'read-only', 'storage-failed', 'closed'].map((state) =>
      of('sluice_spool_state', `,state="${state}"`, state === 'ok' ? 1 : 0),
    ),
    ...['ok', 'retrying', 'held'].flatMap((state) => [
      of('sluice_sink_state', `,sink="cloud",state="${state}"`, state === 'ok' ? 1 : 0),
      of(
        'sluice_drain_stream_state',
        `,stream="s",sink="cloud",state="${state}"`,
        state === 'ok' ? 1 : 0,
      ),
    ]),
  ]
})

testWithTool(
  'promtool',
  'the state tiles show a gateway that is down, whether it is one of two or alone',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-tiles-'))
    const tiles = dashboards.flatMap(({ panels }) => panels).filter(({ type }) => type === 'stat')
    const tile = (title: string, instances: string): string => {
      const expr = tiles.find((panel) => panel.title === title)?.targets?.[0]?.expr
      if (expr === undefined) throw new Error(`no tile ${title}`)
      return withoutVariables(expr.replaceAll('$instance', instances))
    }
    // In good order, and with one that is down.
    const expected = {
      Gateways: [0, 1],
      Accepting: [1, 0],
      Spool: [0, 4],
      Sinks: [0, 3],
      Streams: [0, 3],
    }
    const cases = Object.entries(expected).flatMap(([title, [well, down]]) =>
      ['.*', 'b'].flatMap((instances) =>
        [
          ['8m', well],
          ['15m', down],
        ].map(([eval_time, value]) => ({
          expr: `sum(${tile(title, instances)})`,
          eval_time,
          exp_samples: [{ labels: '{}', value }],
        })),
      ),
    )
    try {
      const file = join(folder, 'tiles.yml')
      const tests = [{ interval: '1m', input_series: TWO_GATEWAYS, promql_expr_test: cases }]
      writeFileSync(file, JSON.stringify({ rule_files: [], evaluation_interval: '1m', tests }))
      expect(promtool('test', 'rules', file)).toContain('SUCCESS')
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
)

testWithTool('promtool', 'every dashboard query is an expression that Prometheus parses', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-queries-'))
  try {
    const queries = dashboards.flatMap((dashboard) =>
      dashboard.panels.flatMap((panel) =>
        (panel.targets ?? []).map(({ expr }) => withoutVariables(expr)),
      ),
    )
    const recorded = queries.map((expr, i) => ({ record: `query:${i}`, expr }))
    const file = join(folder, 'queries.yml')
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'queries', rules: recorded }] }))
    expect(promtool('check', 'rules', file)).toContain(`${queries.length} rules found`)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
