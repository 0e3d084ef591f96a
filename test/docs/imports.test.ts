/**
 * The import rules of gateway/README.md, over the real source tree: stages know each
 * other through narrow interface files only, and each package has one place. Layering that nothing
 * enforces rots into cycles.
 */
import { describe, expect, test } from 'vitest'
import { readDocument, sectionOf } from './documents.ts'
import { type Import, importsOf, readText, type SourceFile, sources } from './source-tree.ts'

const STAGES = [
  'config',
  'broker',
  'spool',
  'devices',
  'drain',
  'sink',
  'observe',
  'admin',
  'cli',
] as const
type Stage = (typeof STAGES)[number]

/** Where a package may be imported, and nowhere else. Folders, or single files. */
const PACKAGE_PLACES: Readonly<Record<string, readonly string[]>> = {
  '@nats-io/transport-node': ['gateway/sink/nats/'],
  aedes: ['gateway/broker/'],
  'aedes-persistence': ['gateway/broker/'],
  mqemitter: ['gateway/broker/'],
  ws: ['gateway/broker/', 'gateway/sink/mqtt/'],
  'mqtt-packet': ['gateway/sink/mqtt/'],
  level: ['gateway/spool/store/'],
  'classic-level': ['gateway/spool/store/'],
  'prom-client': ['gateway/observe/'],
  pino: ['gateway/observe/'],
  'pino-pretty': ['gateway/observe/'],
  pg: ['gateway/sink/postgres/'],
  mqtt: ['device-sim/'],
  zod: ['gateway/config/', 'gateway/admin/', 'device-sim/'],
  yaml: ['gateway/config/'],
  commander: ['gateway/cli/', 'device-sim/'],
  preact: ['gateway/admin/console/'],
  '@preact/signals': ['gateway/admin/console/'],
  uplot: ['gateway/admin/console/'],
  vite: ['gateway/admin/console/'],
}

/** Runs in a browser, from one bundle: what it imports is part of the build. */
const BUNDLED = 'gateway/admin/console/'

/**
 * What every stage may import besides itself: what stages need of each other, what they do alike,
 * the reader of keys.
 */
const COMMON = ['gateway/ports/', 'gateway/shared/', 'gateway/config/']

/**
 * They look at the others: at what these count and tell, as types. At run time each stage stands
 * alone.
 */
const LOOKING: readonly Stage[] = ['observe', 'admin']
const LOOKED_AT = /^gateway\/[a-z]+\/(stats|events)\.ts$/

/** What several stages do in the same way. It knows none of them, so any may import it. */
const SHARED = 'gateway/shared/'

const gateway = sources('gateway')
const deviceSim = sources('device-sim')
const product = [...gateway, ...deviceSim]

function stageOf(path: string): Stage | null {
  const name = /^gateway\/([^/]+)\//.exec(path)?.[1]
  return STAGES.find((stage) => stage === name) ?? null
}

/** Each broken rule as a line `file -> what it imports`. */
function broken(
  files: readonly SourceFile[],
  isWrong: (file: SourceFile, each: Import) => boolean,
): string[] {
  return files.flatMap((file) =>
    file.imports
      .filter((each) => isWrong(file, each))
      .map((each) => `${file.path} -> ${each.specifier}`),
  )
}

function crossesWrongly(file: SourceFile, each: Import): boolean {
  const from = stageOf(file.path)
  if (from === null || each.file === null || !each.file.startsWith('gateway/')) return false
  if (stageOf(each.file) === from) return false
  if (from !== 'config' && COMMON.some((folder) => each.file?.startsWith(folder))) return false
  if (from === 'config' && each.file.startsWith(SHARED)) return false
  return !(LOOKING.includes(from) && each.typeOnly && LOOKED_AT.test(each.file))
}

/** What stages need of each other knows none of them. */
function leavesPorts(file: SourceFile, each: Import): boolean {
  if (!file.path.startsWith('gateway/ports/') || each.file === null) return false
  return !each.file.startsWith('gateway/ports/') && !each.file.startsWith(SHARED)
}

/** A leaf: of itself and of node. */
function leavesShared(file: SourceFile, each: Import): boolean {
  if (!file.path.startsWith(SHARED)) return false
  return each.packageName !== null || (each.file !== null && !each.file.startsWith(SHARED))
}

function misplaced(file: SourceFile, each: Import): boolean {
  const places = each.packageName === null ? undefined : PACKAGE_PLACES[each.packageName]
  return places !== undefined && !places.some((place) => file.path.startsWith(place))
}

describe('the reader of imports', () => {
  test('finds every form of import, and tells types from values', () => {
    const text = [
      "import { a } from './a.ts'",
      "import type { B } from '../b.ts'",
      "import { type C, type D } from '@scope/name/sub'",
      "import { type E, f } from 'pkg/sub'",
      "import {\n  g,\n  type H,\n} from './g.ts'",
      "export { i } from './i.ts'",
      "import 'effect'",
      "const j = await import('late')",
      "import { k } from 'node:fs'",
    ].join('\n')
    const found = importsOf('x/y/z.ts', text)
    expect(found.map((each) => [each.file ?? each.packageName, each.typeOnly])).toEqual([
      ['x/y/a.ts', false],
      ['x/b.ts', true],
      ['@scope/name', true],
      ['pkg', false],
      ['x/y/g.ts', false],
      ['x/y/i.ts', false],
      ['effect', false],
      ['late', false],
      [null, false],
    ])
  })

  test('and the rules below would catch what they are there for', () => {
    const file = (path: string, text: string): SourceFile => ({
      path,
      text,
      lines: [],
      imports: importsOf(path, text),
    })
    const crossing = (path: string, specifier: string, type = '') =>
      broken([file(path, `import ${type}{ A } from '${specifier}'`)], crossesWrongly).length
    expect(crossing('gateway/drain/x.ts', '../spool/spool.ts')).toBe(1)
    expect(crossing('gateway/drain/x.ts', '../spool/spool.ts', 'type ')).toBe(1)
    expect(crossing('gateway/drain/x.ts', '../gateway.ts', 'type ')).toBe(1)
    expect(crossing('gateway/config/x.ts', '../ports/sink.ts', 'type ')).toBe(1)
    expect(crossing('gateway/spool/x/y.ts', '../../ports/appender.ts')).toBe(0)
    expect(crossing('gateway/observe/x.ts', '../spool/events.ts')).toBe(1)
    expect(crossing('gateway/observe/x.ts', '../spool/events.ts', 'type ')).toBe(0)
    expect(crossing('gateway/cli/x.ts', '../spool/events.ts', 'type ')).toBe(1)
    expect(
      broken([file('gateway/ports/x.ts', "import type { A } from '../spool/a.ts'")], leavesPorts),
    ).toHaveLength(1)
    expect(
      broken([file('gateway/spool/x.ts', "import { Level } from 'level'")], misplaced),
    ).toHaveLength(1)
    const shared = [
      "import type { Config } from '../config/config.ts'",
      "import { z } from 'zod'",
      "import { stat } from 'node:fs/promises'",
      "import { fileStamp } from './files.ts'",
    ]
    expect(broken([file('gateway/shared/x.ts', shared.join('\n'))], leavesShared)).toHaveLength(2)
    expect(
      broken(
        [file('gateway/drain/x.ts', "import { Poller } from '../shared/poller.ts'")],
        crossesWrongly,
      ),
    ).toEqual([])
    expect(product.flatMap((each) => each.imports).length).toBeGreaterThan(200)
  })
})

test('a stage imports itself, ports/, shared/ and config/, and nothing else', () => {
  expect(broken(gateway, crossesWrongly)).toEqual([])
  expect(broken(gateway, leavesPorts)).toEqual([])
})

test('what the stages share knows none of them and no package', () => {
  expect(gateway.some((file) => file.path.startsWith(SHARED))).toBe(true)
  expect(broken(gateway, leavesShared)).toEqual([])
})

test('what stands outside the stages is the composition', () => {
  const outside = gateway.filter((file) => stageOf(file.path) === null).map((file) => file.path)
  const allowed = /^gateway\/(ports\/|reload\/|shared\/.*|trials\/|)[a-z0-9-]+\.ts$/
  expect(outside.filter((path) => !allowed.test(path))).toEqual([])
})

test('each package is imported in its one place', () => {
  expect(broken(product, misplaced)).toEqual([])
})

test('the places of packages are those of the architecture, and each one is used', () => {
  const section = sectionOf(readDocument('gateway/README.md'), 'Import rules')
  const rows = [...section.matchAll(/^\| ([a-z@][a-z@/, -]+) \| (`.*`) \|$/gm)]
  const documented = rows.flatMap(([, packages = '', places = '']) =>
    packages.split(', ').map((name) => [name, places.replaceAll('`', '').split(', ')] as const),
  )
  expect(Object.fromEntries(documented)).toEqual(PACKAGE_PLACES)
  const { dependencies } = JSON.parse(readText('package.json')) as {
    dependencies: Record<string, string>
  }
  const isUsed = (name: string, place: string) =>
    product.some(
      ({ path, imports }) =>
        path.startsWith(place) && imports.some((each) => each.packageName === name),
    )
  const unused = Object.entries(PACKAGE_PLACES)
    .filter(([name]) => name in dependencies)
    .flatMap(([name, places]) =>
      places.filter((place) => !isUsed(name, place)).map((place) => `${name} in ${place}`),
    )
  expect(unused).toEqual([])
})

test('the fleet imports nothing of the gateway, nor the gateway of the fleet', () => {
  expect(broken(deviceSim, (_, each) => each.file?.startsWith('gateway/') ?? false)).toEqual([])
  expect(broken(gateway, (_, each) => each.file?.startsWith('device-sim/') ?? false)).toEqual([])
})

test('the console runs in a browser: nothing of Node, and of the stages no more than types', () => {
  const console = gateway.filter(
    ({ path }) => path.startsWith(BUNDLED) && !path.includes('.config.'),
  )
  const isWrong = (_: SourceFile, { specifier, file, typeOnly }: Import): boolean => {
    if (specifier.startsWith('node:')) return true
    if (file === null || file.startsWith(BUNDLED)) return false
    // One list of findings for every reader of a status.
    if (file === 'gateway/ports/findings.ts') return false
    return !typeOnly && !file.startsWith('gateway/shared/text/')
  }
  expect(console.length).toBeGreaterThan(20)
  expect(broken(console, isWrong)).toEqual([])
})

test('the product imports no test, and at run time only packages that are declared as dependencies', () => {
  const { dependencies, devDependencies, peerDependenciesMeta } = JSON.parse(
    readText('package.json'),
  ) as {
    dependencies: Record<string, string>
    devDependencies: Record<string, string>
    peerDependenciesMeta: Record<string, { optional: boolean }>
  }
  const isOptional = (name: string) => peerDependenciesMeta[name]?.optional === true
  const isUndeclared = ({ path }: SourceFile, { packageName, typeOnly, isDynamic }: Import) =>
    packageName !== null &&
    !typeOnly &&
    !(packageName in (path.startsWith(BUNDLED) ? devDependencies : dependencies)) &&
    !(isDynamic && isOptional(packageName))
  expect(broken(product, (_, each) => each.file?.startsWith('test/') ?? false)).toEqual([])
  expect(broken(product, isUndeclared)).toEqual([])
})

test('every dependency is used', () => {
  const { dependencies } = JSON.parse(readText('package.json')) as {
    dependencies: Record<string, string>
  }
  const used = new Set(product.flatMap((file) => file.imports.map((each) => each.packageName)))
  expect(Object.keys(dependencies).filter((name) => !used.has(name))).toEqual([])
})
