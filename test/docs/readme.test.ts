/**
 * README against the code: what it says of keys, metrics, codes, alerts, guarantees, commands and
 * files is so, and what the code has is in README. `SLUICE_UPDATE_README=1` writes the generated
 * tables instead of comparing them.
 */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { describeKeys } from '../../gateway/config/describe.ts'
import { METRICS } from '../../gateway/observe/metrics/table.ts'
import { filesBelow, ROOT, readText, sources } from './source-tree.ts'
import { TABLES, tablesIn, withTables } from './tables.ts'

if (process.env['SLUICE_UPDATE_README'] === '1') {
  writeFileSync(join(ROOT, 'README.md'), withTables(readText('README.md')))
}

const readme = readText('README.md')
const prose = readme.replaceAll(/```[\s\S]*?```/g, '')
const gateway = sources('gateway')
const tests = sources('test')

/** As GitHub makes them. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 _-]/g, '')
    .replaceAll(' ', '-')
}

const headings = [...prose.matchAll(/^#+ (.+)$/gm)].map((match) => match[1] ?? '')

/** Text of the section under a heading, to the next one of the same level. */
function section(heading: string): string {
  const start = readme.indexOf(`\n## ${heading}\n`)
  if (start < 0) throw new Error(`README has no section ${heading}`)
  const end = readme.indexOf('\n## ', start + 1)
  return readme.slice(start, end < 0 ? undefined : end)
}

function sorted(values: Iterable<string>): string[] {
  return [...new Set(values)].toSorted()
}

describe('tables made from the code', () => {
  test.each(Object.keys(TABLES))(
    '%s is what the code says (SLUICE_UPDATE_README=1 writes it)',
    (name) => {
      expect(tablesIn(readme).get(name)?.trim()).toBe(TABLES[name]?.())
    },
  )

  test('have rows, and no place in README is without its table', () => {
    expect(sorted(tablesIn(readme).keys())).toEqual(sorted(Object.keys(TABLES)))
    for (const table of tablesIn(readme).values())
      expect(table.split('\n').length).toBeGreaterThan(30)
  })
})

test('metrics that README mentions elsewhere exist', () => {
  const names = METRICS.map((metric) => metric.name)
  const mentioned = [...readme.matchAll(/`(sluice_[a-z0-9_]*[a-z0-9])`/g)].map(
    (match) => match[1] ?? '',
  )
  expect(mentioned.filter((name) => !names.includes(name))).toEqual([])
})

describe('guarantees', () => {
  const numbers = ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9']

  test('are the nine, each with its row', () => {
    expect([...section('Guarantees').matchAll(/^\| (I\d+) \|/gm)].map((match) => match[1])).toEqual(
      numbers,
    )
  })

  test.each(numbers)('%s has a test with its number in the title', (number) => {
    const title = new RegExp(
      `(?:test|it|describe)[^\\n]*\\(\\s*(?:[^\\n]*,\\s*)?['"\`][^'"\`\\n]*\\b${number}\\b[^'"\`\\n]*:`,
    )
    const files = tests.filter((file) => title.test(file.text)).map((file) => file.path)
    expect(files.filter((path) => !path.startsWith('test/docs/'))).not.toEqual([])
  })

  test('no number beyond them is cited anywhere', () => {
    const all = [
      ...gateway,
      ...sources('device-sim'),
      ...tests.filter(({ path }) => !path.startsWith('test/docs/')),
    ]
    const cited = all.flatMap((file) =>
      [...file.text.matchAll(/\b(I\d+)\b/g)].map((match) => match[1] ?? ''),
    )
    expect(sorted(cited).filter((number) => !numbers.includes(number))).toEqual([])
  })
})

describe('error codes', () => {
  const documented = [...section('Error codes').matchAll(/^\| `([A-Z_]+)` \|/gm)].map(
    (match) => match[1] ?? '',
  )

  test('of the code are in README, and those of README in the code', () => {
    const pattern = /'((?:SLUICE|CONFIG|LISTENER|AUTH|ADMIN|SINK|SPOOL|BROKER|CLI)_[A-Z_]+)'/g
    const used = gateway.flatMap((file) =>
      [...file.text.matchAll(pattern)].map((match) => match[1] ?? ''),
    )
    const environment = used.filter((code) =>
      /^SLUICE__|^SLUICE_(REQUIRE|UPDATE|CONFIG)/.test(code),
    )
    expect(sorted(documented)).toEqual(sorted(used.filter((code) => !environment.includes(code))))
  })

  test('each say what to do', () => {
    for (const row of section('Error codes').matchAll(/^\| `[A-Z_]+` \|(.*)\|$/gm))
      expect(row[1]?.split('|').map((cell) => cell.trim().length > 0)).toEqual([true, true])
  })
})

test('every alert has a section that says what to do, and no other section poses as one', () => {
  const rules = parse(readText('dashboards/prometheus/rules.yml')) as {
    groups: { rules: { alert: string }[] }[]
  }
  const alerts = rules.groups.flatMap((group) => group.rules.map((rule) => rule.alert))
  expect(
    sorted(headings.filter((heading) => heading.startsWith('Sluice') && heading !== 'Sluice')),
  ).toEqual(sorted(alerts))
})

describe('what README points to exists', () => {
  test('sections', () => {
    const anchors = headings.map(anchor)
    const links = [...prose.matchAll(/\]\(#([^)]+)\)/g)].map((match) => match[1] ?? '')
    expect(links.length).toBeGreaterThan(10)
    expect(links.filter((link) => !anchors.includes(link))).toEqual([])
  })

  test('files and folders', () => {
    const paths = [
      ...prose.matchAll(/`((?:gateway|device-sim|test|dashboards|\.ci)\/[\w./-]*)`/g),
    ].map((match) => match[1] ?? '')
    expect(paths.length).toBeGreaterThan(10)
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
  })

  test('the license that it and package.json name', () => {
    const { license } = JSON.parse(readText('package.json')) as { license: string }
    expect(prose).toContain(`License: ${license}.`)
    expect(readText('LICENSE')).toMatch(new RegExp(`^${license} License\\n`))
  })

  test('npm scripts', () => {
    const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> }
    const names = [...readme.matchAll(/\bnpm run (?:--silent )?([a-z-]+)/g)].map(
      (match) => match[1] ?? '',
    )
    expect(sorted([...names, 'test', 'start']).filter((name) => !(name in scripts))).toEqual([])
  })

  test('commands: README names those that there are, with their subcommands', () => {
    const code = filesBelow('gateway/cli', '.ts').map(readText).join('\n')
    const commands = [...code.matchAll(/new Command\('([a-z-]+)'\)/g)].map(
      (match) => match[1] ?? '',
    )
    const top = ['start', 'check', 'status', 'streams', 'passwd', 'dead-letters', 'sinks', 'spool']
    const named = [...prose.matchAll(/`sluice ([a-z-]+)(?: ([a-z][a-z-]*))?/g)]
    expect(sorted(named.map((match) => match[1] ?? ''))).toEqual(sorted(top))
    const words = named
      .flatMap((match) => [match[1] ?? '', match[2] ?? ''])
      .filter((word) => word !== '')
    expect(
      sorted(words).filter((word) => !commands.includes(word) && !code.includes(`'${word}'`)),
    ).toEqual([])
    expect(
      sorted(commands).filter((name) => name !== 'sluice' && !section('Operating').includes(name)),
    ).toEqual([])
  })

  test('commands of the fleet', () => {
    const code = filesBelow('device-sim', '.ts').map(readText).join('\n')
    const commands = [...code.matchAll(/new Command\('([a-z-]+)'\)/g)].map(
      (match) => match[1] ?? '',
    )
    const named = [...prose.matchAll(/`sluice-sim ([a-z-]+)/g)].map((match) => match[1] ?? '')
    expect(sorted(named)).toEqual(sorted(commands).filter((name) => name !== 'sluice-sim'))
  })

  test('every limit of the broker has its policy', () => {
    const keys = describeKeys()
      .map(
        (key) =>
          /^mqtt\.((?:max|connectTimeout|authTimeout|sessionExpiry)\w*)$/.exec(key.path)?.[1],
      )
      .filter((key) => key !== undefined)
    const rows = section('Configuration').split('### Users')[0] ?? ''
    expect(keys.length).toBeGreaterThan(15)
    expect(keys.filter((key) => !rows.includes(`\`${key}\``))).toEqual([])
  })

  test('paths of the admin server', () => {
    const served = readText('gateway/admin/routes.ts')
    const pattern = /path: \/\^(.+)\$\/,/g
    const routes = [...served.matchAll(pattern)].map(
      (match) => new RegExp(`^${(match[1] ?? '').replaceAll('\\/', '/')}$`),
    )
    const documented = [...section('Operating').matchAll(/`(?:GET|POST) (\/[^`? ]*)/g)].map(
      (match) => (match[1] ?? '').replace('<name>', 'name'),
    )
    expect(routes.length).toBeGreaterThan(5)
    expect(documented.filter((path) => !routes.some((route) => route.test(path)))).toEqual([])
    expect(
      routes.filter((route) => !documented.some((path) => route.test(path))).map(String),
    ).toEqual([])
  })

  test('folders of the gateway: each has its row', () => {
    const folders = readdirSync(join(ROOT, 'gateway'), { withFileTypes: true }).filter((entry) =>
      entry.isDirectory(),
    )
    const table = section('Architecture')
    expect(
      folders
        .map((folder) => folder.name)
        .filter((name) => !table.includes(`\`gateway/${name}/\``)),
    ).toEqual([])
  })
})
