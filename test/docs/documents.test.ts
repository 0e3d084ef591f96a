/**
 * The documents against the code: what they say of keys, metrics, codes, alerts, guarantees,
 * commands and files is so, what the code has is in them, and every link leads somewhere.
 * `SLUICE_UPDATE_README=1` writes the generated tables instead of comparing them.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { CLOSE_REASONS, REFUSE_REASONS } from '../../gateway/broker/events.ts'
import { describeKeys } from '../../gateway/config/keys/describe.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { CONTRACT_RULES } from '../../gateway/drain/policy/rules.ts'
import { METRICS } from '../../gateway/observe/metrics/table.ts'
import { postgresKeys } from '../../gateway/sink/postgres/config.ts'
import { SINK_TYPES } from '../../gateway/sink/registry.ts'
import { SPOOL_FORMAT } from '../../gateway/spool/format.ts'
import { anchorOf, type Document, linksOf, readDocuments, sectionOf } from './documents.ts'
import { filesBelow, ROOT, readText, sources } from './source-tree.ts'
import { TABLES, tablesIn, withTables } from './tables.ts'

if (process.env['SLUICE_UPDATE_README'] === '1') {
  for (const { path, text } of readDocuments())
    if (tablesIn(text).size > 0) writeFileSync(join(ROOT, path), withTables(text))
}

const documents = readDocuments()
const gateway = sources('gateway')
const tests = sources('test')

function documentAt(path: string): Document {
  const found = documents.find((document) => document.path === path)
  if (found === undefined) throw new Error(`there is no ${path}`)
  return found
}

function sorted(values: Iterable<string>): string[] {
  return [...new Set(values)].toSorted()
}

/** First groups of all matches in the prose of all documents that speak of this version. */
function inProse(pattern: RegExp): string[] {
  return documents
    .filter(({ path }) => path !== 'CHANGELOG.md')
    .flatMap(({ prose }) => [...prose.matchAll(pattern)].map((match) => match[1] ?? ''))
}

test('README is a face: at most 200 lines', () => {
  expect(documentAt('README.md').text.trimEnd().split('\n').length).toBeLessThanOrEqual(200)
})

test.each(Object.keys(SINK_TYPES))(
  'the document of sink %s begins with its delivery class and what an ack means',
  (type) => {
    const [begin = ''] = documentAt(`gateway/sink/${type}/README.md`).text.split('\n```')
    expect(begin).toMatch(/\b(?:exactly once|idempotent by value|at least once)\b/i)
    expect(begin).toMatch(/\b(?:durable|received|in memory)\b/)
    expect(begin).toMatch(/\backs?\b|\backnowledged\b/i)
  },
)

test('the spool says what its newest format is', () => {
  const rows = sectionOf(documentAt('gateway/spool/README.md'), 'Format').matchAll(/^\| (\d+)\b/gm)
  const formats = [...rows].map((match) => Number(match[1]))
  expect(formats).toEqual(Array.from({ length: SPOOL_FORMAT }, (_, i) => i + 1))
})

test('prose has lines of at most 100 columns; tables, code and pictures are as long as they are', () => {
  const long = documents
    .filter(({ path }) => path !== 'CHANGELOG.md')
    .flatMap(({ path, prose }) =>
      prose
        .split('\n')
        .filter((line) => line.length > 100 && !/^(\||!\[)/.test(line))
        .map((line) => `${path}: ${line}`),
    )
  expect(long).toEqual([])
})

describe('README leads a stranger to the answer in one click', () => {
  test.each([
    ['How do I feed my own web service?', /POST <sink url>/],
    ['What happens when the disk is full', /\| The disk runs full \| Ingest closes/],
    ['Which key limits memory', /\| memory for devices \| `mqtt\.maxUnackedBytesTotal`/],
    ['Why was my device disconnected?', /^\| `takeover` \| another connection came/m],
    ['How do I restore a backup?', /sluice spool restore \/mnt\/backup/],
    ['Where is a PUBACK written', /\| Where is a PUBACK written\? \| `broker\/\S+\.ts`/],
    ['which file makes it legal?', /legal \(I1\)\? \| `spool\/\S+\.ts`/],
    ['Where does a refused record go?', /refused record go \(I8\)\? \| `drain\/\S+\.ts`/],
    ['How do I add a sink?', /One folder, and one line in `gateway\/sink\/registry\.ts`/],
  ])('%s', (question, answer) => {
    const readme = documentAt('README.md')
    const row = readme.text.split('\n').find((line) => line.includes(question)) ?? ''
    const answers = linksOf({ ...readme, prose: row }).map(({ file, anchor }) => {
      const document = documentAt(file)
      const heading = document.headings.find((each) => anchorOf(each) === anchor)
      return heading === undefined ? document.text : sectionOf(document, heading)
    })
    expect(answers.filter((text) => answer.test(text))).not.toEqual([])
  })
})

test('pictures bring their own colors for light and dark, and load nothing', () => {
  const pictures = documents.flatMap(linksOf).filter(({ file }) => file.endsWith('.svg'))
  expect(pictures.length).toBeGreaterThan(0)
  for (const { file } of pictures) {
    const svg = readText(file)
    expect(svg).toContain('@media (prefers-color-scheme: dark)')
    expect(svg).toMatch(/<title[^>]*>\S/)
    expect(svg.replace('xmlns="http://www.w3.org/2000/svg"', '')).not.toMatch(
      /https?:|<script|<image|@import|url\((?!#)/,
    )
  }
})

describe('tables made from the code', () => {
  const tables = documents.flatMap(({ text }) => [...tablesIn(text)])

  test.each(Object.keys(TABLES))(
    '%s is what the code says (SLUICE_UPDATE_README=1 writes it)',
    (name) => {
      expect(new Map(tables).get(name)?.trim()).toBe(TABLES[name]?.())
    },
  )

  test('have rows, stand in one document each, and no place is without its table', () => {
    expect(tables.map(([name]) => name).toSorted()).toEqual(sorted(Object.keys(TABLES)))
    for (const [name, table] of tables)
      expect(table.split('\n').length, name).toBeGreaterThan(
        name === 'scale' || name === 'simulated' ? 5 : 30,
      )
  })
})

test('metrics that documents mention exist', () => {
  const names = METRICS.map((metric) => metric.name)
  const mentioned = inProse(/`(sluice_[a-z0-9_]*[a-z0-9])`/g)
  expect(mentioned.length).toBeGreaterThan(names.length)
  // Those that a PostgreSQL sink writes to besides its readings.
  const tables = [postgresKeys.queueTable, postgresKeys.gapTable].map((key) => key.parse(undefined))
  const known = [...names, ...tables]
  expect(mentioned.filter((name) => !known.includes(name))).toEqual([])
})

test.each([
  ['Refused', REFUSE_REASONS],
  ['Closed', CLOSE_REASONS],
])(
  'why a connection ended: %s has a row for each reason, in the order of the code',
  (heading, reasons) => {
    const rows = sectionOf(documentAt('gateway/broker/README.md'), heading).matchAll(
      /^\| `([a-z0-9-]+)` \| \S.* \| \S.* \|$/gm,
    )
    expect([...rows].map((match) => match[1])).toEqual([...reasons])
  },
)

describe('guarantees', () => {
  const numbers = ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9']

  test('are the nine, each with its row', () => {
    const rows = sectionOf(documentAt('gateway/README.md'), 'Guarantees')
    expect([...rows.matchAll(/^\| (I\d+) \|/gm)].map((match) => match[1])).toEqual(numbers)
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
      ...documents,
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
  const section = sectionOf(documentAt('gateway/cli/README.md'), 'Error codes')
  const documented = [...section.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1] ?? '')

  test('of the code are in the table, and those of the table in the code', () => {
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
    for (const row of section.matchAll(/^\| `[A-Z_]+` \|(.*)\|$/gm))
      expect(row[1]?.split('|').map((cell) => cell.trim().length > 0)).toEqual([true, true])
  })
})

test('every alert has a section that says what to do, and no other section poses as one', () => {
  const rules = parse(readText('dashboards/prometheus/rules.yml')) as {
    groups: { rules: { alert: string }[] }[]
  }
  const alerts = rules.groups.flatMap((group) => group.rules.map((rule) => rule.alert))
  const { headings } = documentAt('dashboards/README.md')
  expect(sorted(headings.filter((heading) => heading.startsWith('Sluice')))).toEqual(sorted(alerts))
})

test('the numbers of the contract are those that the drain goes by', () => {
  const contract = documentAt('gateway/sink/http/README.md').text.replaceAll(/\s+/g, ' ')
  const rules = CONTRACT_RULES
  const ordinals: Readonly<Record<number, string>> = { 2: 'second', 3: 'third', 10: 'tenth' }
  const seconds = (ms: number): string => `${ms / 1_000} s`
  for (const phrase of [
    `full jitter ${seconds(rules.backoffBaseMs)} to ${seconds(rules.backoffCapMs)}`,
    `one probe every ${seconds(rules.probeMs)}`,
    `hold after ${rules.malformedLimit} in a row`,
    `after the ${ordinals[rules.timeoutLimit]} time-out in a row`,
    `after the ${ordinals[rules.holdTries]} time where the answer holds`,
    `the ${ordinals[rules.streamTries]} where it concerns the stream`,
    `the ${ordinals[rules.sinkTries]} where it concerns the sink`,
    `after ${rules.parkedLimit} parked records without an acceptance`,
    `last ${rules.judgedWindow.toLocaleString('en')} judged records (from ${rules.judgedFrom} on)`,
  ])
    expect(contract).toContain(phrase)
})

describe('what documents point to exists', () => {
  const links = documents.flatMap(linksOf)

  test('files and folders that they link', () => {
    expect(links.length).toBeGreaterThan(30)
    expect(links.filter(({ file }) => !existsSync(join(ROOT, file)))).toEqual([])
  })

  test('sections that they link', () => {
    const anchors = new Map(
      documents.map(({ path, headings }) => [path, headings.map(anchorOf)] as const),
    )
    const toSections = links.filter(({ anchor }) => anchor !== null)
    expect(toSections.length).toBeGreaterThan(20)
    expect(
      toSections.filter(({ file, anchor }) => !anchors.get(file)?.includes(anchor ?? '')),
    ).toEqual([])
  })

  test('headings are told apart by their anchors', () => {
    const twice = documents.filter(
      ({ headings }) => new Set(headings.map(anchorOf)).size < headings.length,
    )
    expect(twice.map(({ path }) => path).filter((path) => path !== 'CHANGELOG.md')).toEqual([])
  })

  // From the root, from the gateway's folder or from the document's own.
  test('paths that they name', () => {
    const named = documents
      .filter(({ path }) => path !== 'CHANGELOG.md')
      .flatMap(({ path, prose }) =>
        [...prose.matchAll(/`((?:[\w.-]+\/)+[\w.-]*)`/g)].map((match) => ({
          from: path,
          name: match[1] ?? '',
        })),
      )
      .filter(({ name }) => /\.c?ts$|^(gateway|device-sim|test|dashboards|\.ci)\//.test(name))
    expect(named.length).toBeGreaterThan(10)
    expect(
      named.filter(({ from, name }) =>
        ['', 'gateway', dirname(from)].every((base) => !existsSync(join(ROOT, base, name))),
      ),
    ).toEqual([])
  })

  test('folders that the architecture names, but for those of a data folder', () => {
    const inData = sectionOf(documentAt('gateway/spool/README.md'), 'The data folder')
    const folders = filesBelow('gateway', '.ts').map((path) => `/${dirname(path)}/`)
    const named = [...documentAt('gateway/README.md').prose.matchAll(/`([a-z-]+\/)`/g)]
      .map((match) => match[1] ?? '')
      .filter((name) => !inData.includes(`\`${name}\``))
    const roots = ['device-sim/', 'test/', 'dashboards/', 'gateway/']
    expect(named.length).toBeGreaterThan(20)
    expect(
      named.filter(
        (name) => !roots.includes(name) && !folders.some((path) => path.includes(`/${name}`)),
      ),
    ).toEqual([])
  })

  test('every document, from README in two clicks', () => {
    const linkedBy = (paths: readonly string[]): string[] =>
      links.filter(({ from }) => paths.includes(from)).map(({ file }) => file)
    const once = linkedBy(['README.md'])
    const reached = ['README.md', ...once, ...linkedBy(once)]
    // Notes beside fixtures are for whoever makes them anew.
    const apart = /^test\/(fixtures|support)\//
    expect(
      documents
        .map(({ path }) => path)
        .filter((path) => !apart.test(path) && !reached.includes(path)),
    ).toEqual([])
  })

  test('the license that README and package.json name', () => {
    const { license } = JSON.parse(readText('package.json')) as { license: string }
    expect(documentAt('README.md').prose).toContain(`License: ${license}.`)
    expect(readText('LICENSE')).toMatch(new RegExp(`^${license} License\\n`))
  })

  test('npm scripts', () => {
    const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> }
    const names = documents.flatMap(({ text }) =>
      [...text.matchAll(/\bnpm run (?:--silent )?([a-z-]+)/g)].map((match) => match[1] ?? ''),
    )
    expect(names.length).toBeGreaterThan(5)
    expect(sorted([...names, 'test', 'start']).filter((name) => !(name in scripts))).toEqual([])
  })

  test('commands: documents name those that there are, with their subcommands', () => {
    const code = filesBelow('gateway/cli', '.ts').map(readText).join('\n')
    const commands = [...code.matchAll(/new Command\('([a-z-]+)'\)/g)].map(
      (match) => match[1] ?? '',
    )
    const ofGateway = [
      'start',
      'check',
      'status',
      'devices',
      'leave',
      'log-level',
      'reload',
      'streams',
      'passwd',
      'dead-letters',
      'sinks',
      'spool',
    ]
    const ofItself = ['access', 'config', 'completion', 'doctor', 'support-bundle']
    const top = [...ofGateway, ...ofItself]
    const named = documents.flatMap(({ prose }) => [
      ...prose.matchAll(/`sluice ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?/g),
    ])
    expect(sorted(named.map((match) => match[1] ?? ''))).toEqual(sorted(top))
    const words = named
      .flatMap((match) => [match[1] ?? '', match[2] ?? ''])
      .filter((word) => word !== '')
    expect(
      sorted(words).filter((word) => !commands.includes(word) && !code.includes(`'${word}'`)),
    ).toEqual([])
    const reference = documentAt('gateway/cli/README.md').text
    expect(
      sorted(commands).filter((name) => name !== 'sluice' && !reference.includes(name)),
    ).toEqual([])
  })

  test('commands of the fleet', () => {
    const code = filesBelow('device-sim', '.ts').map(readText).join('\n')
    const commands = [...code.matchAll(/new Command\('([a-z-]+)'\)/g)].map(
      (match) => match[1] ?? '',
    )
    expect(sorted(inProse(/`sluice-sim ([a-z-]+)/g))).toEqual(
      sorted(commands).filter((name) => name !== 'sluice-sim'),
    )
  })

  test('keys of the configuration', () => {
    const paths = describeKeys(SCHEMA.root).map((key) => `${key.path}.`)
    const sections = 'gateway|mqtt|streams|sinks|spool|admin|log'
    const named = inProse(new RegExp(`\`((?:${sections})\\.(?:\\w|<name>|\\.)+)\``, 'g'))
    // Files of that name, an event and a member of the status document.
    const others = /\.[ct]?ts$|^admin\.sock$|^log\.lines-lost$|^spool\.writtenBytesPerDay$/
    expect(named.length).toBeGreaterThan(paths.length)
    expect(
      named.filter((key) => !others.test(key) && !paths.some((path) => path.startsWith(`${key}.`))),
    ).toEqual([])
  })

  test.each(
    documents.flatMap(({ path, text }) =>
      [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => [path, match[1] ?? ''] as const),
    ),
  )('the configuration in %s is one', (_, yaml) => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-documents-'))
    try {
      writeFileSync(join(folder, 'sluice.yaml'), yaml)
      expect(loadConfig(SCHEMA, { file: 'sluice.yaml', env: {}, cwd: folder }).warnings).toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('every limit of the broker has its policy', () => {
    const keys = describeKeys(SCHEMA.root)
      .map(
        (key) =>
          /^mqtt\.((?:max|connectTimeout|authTimeout|sessionExpiry)\w*)$/.exec(key.path)?.[1],
      )
      .filter((key) => key !== undefined)
    const rows = sectionOf(documentAt('gateway/broker/README.md'), 'Limits of the broker')
    expect(keys.length).toBeGreaterThan(15)
    expect(keys.filter((key) => !rows.includes(`\`${key}\``))).toEqual([])
  })

  test('paths of the admin server', () => {
    const routes = sources('gateway/admin/routes').flatMap(({ text }) =>
      [...text.matchAll(/path: '(.+)'|probe\('(.+?)'/g)].map(
        ([, path, probe]) => path ?? probe ?? '',
      ),
    )
    const { text } = documentAt('gateway/admin/README.md')
    const documented = [...text.matchAll(/`(?:GET|POST|DELETE) (\/[^`? ]*)/g)].map(
      (match) => match[1] ?? '',
    )
    const sorted = (paths: readonly string[]) =>
      [...new Set(paths.map((path) => path.replaceAll(/\{\w+\}|<\w+>/g, '…')))].toSorted()
    expect(routes.length).toBeGreaterThan(5)
    expect(sorted(documented)).toEqual(sorted(routes))
  })

  test('folders and files directly in the gateway: each has its row', () => {
    const table = sectionOf(documentAt('gateway/README.md'), 'Folders')
    const entries = readdirSync(join(ROOT, 'gateway'), { withFileTypes: true })
    const names = entries
      .filter((entry) => entry.isDirectory() || /\.c?ts$/.test(entry.name))
      .map((entry) => (entry.isDirectory() ? `gateway/${entry.name}/` : entry.name))
    expect(names.filter((name) => !table.includes(`\`${name}\``))).toEqual([])
    const named = [...table.matchAll(/`([a-z-]+\.c?ts)`/g)].map((match) => match[1] ?? '')
    const inside = filesBelow('gateway', '.ts').map((path) => path.split('/').at(-1))
    expect(named.filter((name) => ![...names, ...inside].includes(name))).toEqual([])
  })
})
