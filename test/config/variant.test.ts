/**
 * Sections whose keys depend on their type, on a schema of two invented types that share a name
 * (`hold`) for different things.
 */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { duration, integer, path, secret, size } from '../../gateway/config/fields.ts'
import { describeKeys } from '../../gateway/config/keys/describe.ts'
import { type ConfigSchema, loadConfig } from '../../gateway/config/load.ts'
import { effectiveYaml } from '../../gateway/config/print.ts'
import { ConfigError, type Problem } from '../../gateway/config/problems.ts'
import { leaf, map, nullable, section } from '../../gateway/config/schema.ts'
import { variant } from '../../gateway/config/variant.ts'
import { ConfigFolder } from './folder.ts'

const limits = section('Of a pigeon.', {
  letters: leaf(integer('Letters at once.', { min: 1, max: 9 })).prefault(3),
})

const post = variant('A way to send.', {
  key: 'kind',
  keyText: 'Way to send.',
  usual: 'pigeon',
  types: {
    pigeon: {
      keys: { hold: limits.prefault({}), nest: leaf(path('Where it lives.')).prefault('.') },
    },
    bottle: {
      keys: {
        hold: leaf(size('Room.', { min: 1 })).prefault('1KiB'),
        message: nullable(secret('What is in it.', () => null)).prefault(null),
        beach: leaf(path('Where it is thrown.')),
        patience: leaf(duration('Until it is sent again.', { min: 0 })).prefault('1d'),
      },
    },
  },
  common: { patience: leaf(duration('Until it is sent again.', { min: 0 })).prefault('1s') },
})

const root = section('All.', { post: map('Ways.', 'name', post).prefault({ usual: {} }) })
const SCHEMA: ConfigSchema<unknown> = { root, check: () => undefined }

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

function load(text: string, env: Record<string, string> = {}): { post: Record<string, unknown> } {
  folder.write(text)
  const { config } = loadConfig(SCHEMA, { file: 'sluice.yaml', env, cwd: folder.path })
  return config as { post: Record<string, unknown> }
}

function problems(text: string, env: Record<string, string> = {}): readonly Problem[] {
  try {
    load(text, env)
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
  throw new Error(`this configuration was taken, but should be refused:\n${text}`)
}

const PIGEON = { kind: 'pigeon', hold: { letters: 3 }, patience: 1_000 }
const BOTTLE = { kind: 'bottle', hold: 1024, message: null, patience: 86_400_000 }

describe('loading', () => {
  test('a type that is not written is the usual one, with its defaults', () => {
    const nest = folder.path
    const usual = { usual: { ...PIGEON, nest } }
    expect(load('')).toEqual({ post: usual })
    expect(load('post: { usual: }')).toEqual({ post: usual })
    expect(load('post: { usual: { hold: } }')).toEqual({ post: usual })
  })

  test('each type has its keys and the common ones; its paths and secrets are known', () => {
    const text =
      'post: { a: { kind: bottle, beach: b, message: { file: m }, patience: 2s }, b: {} }'
    const file = `${folder.path}/m`
    const a = { ...BOTTLE, beach: `${folder.path}/b`, message: { file }, patience: 2_000 }
    expect(load(text)).toEqual({ post: { a, b: { ...PIGEON, nest: folder.path } } })
  })

  test('a type may have a default of its own for a common key', () => {
    const own = section('With a type that is in no hurry.', {
      post: variant('A way to send.', {
        key: 'kind',
        keyText: 'Way to send.',
        usual: 'pigeon',
        types: {
          pigeon: { keys: {} },
          snail: { keys: { patience: leaf(duration('Of a snail.', { min: 0 })).prefault('1h') } },
        },
        common: { patience: leaf(duration('Of each.', { min: 0 })).prefault('1s') },
      }),
    })
    expect(own.parse({ post: { kind: 'snail' } })).toEqual({
      post: { kind: 'snail', patience: 3_600_000 },
    })
    expect(own.parse({ post: {} })).toEqual({ post: { kind: 'pigeon', patience: 1_000 } })
    const printed = effectiveYaml(own, { post: { kind: 'snail', patience: 60_000 } })
    expect(parse(printed)).toEqual({ post: { kind: 'snail', patience: '1m' } })
    expect(describeKeys(own).map(({ path: at, default: value }) => [at, value])).toEqual([
      ['post.kind', 'pigeon'],
      ['post.patience', '1s'],
      ['post.patience', '1h'],
    ])
  })

  test('a type may have a default of its own for a common key', () => {
    const text = 'post: { a: { kind: bottle, beach: b }, b: { patience: 5s } }'
    const { a, b } = load(text, { SLUICE__POST__B__PATIENCE: '6s' }).post
    expect([a, b]).toMatchObject([{ patience: 86_400_000 }, { patience: 6_000 }])
  })

  test('an empty section below is filled by its type alone', () => {
    expect(problems('post: { a: { kind: bottle, beach: b, hold: } }')).toMatchObject([
      { key: 'post.a.hold', got: 'null' },
    ])
  })
})

describe('a word in place of a section', () => {
  const pack = variant('How it is packed.', {
    key: 'kind',
    keyText: 'Kind of packing.',
    usual: 'bag',
    types: {
      bag: { keys: {} },
      crate: { keys: { boards: leaf(integer('Of wood.', { min: 1, max: 9 })).prefault(4) } },
    },
    common: {},
    word: true,
  })
  const schema = {
    root: section('All.', { pack: pack.prefault({ kind: 'bag' }) }),
    check: () => undefined,
  }
  const packed = (text: string, env: Record<string, string> = {}): unknown => {
    folder.write(text)
    return loadConfig(schema, { file: 'sluice.yaml', env, cwd: folder.path }).config
  }
  const crate = (boards: number) => ({ pack: { kind: 'crate', boards } })

  test('is the section with that type', () => {
    expect(packed('')).toEqual({ pack: { kind: 'bag' } })
    expect(packed('pack: crate')).toEqual(crate(4))
    expect(packed('', { SLUICE__PACK: 'crate' })).toEqual(crate(4))
    expect(packed('pack: crate', { SLUICE__PACK__BOARDS: '5' })).toEqual(crate(5))
    expect(packed('pack: crate', { SLUICE__PACK__KIND: 'bag' })).toEqual({ pack: { kind: 'bag' } })
    expect(parse(effectiveYaml(schema.root, crate(4)))).toEqual(crate(4))
    expect(schema.root.parse({ pack: 'crate' })).toEqual(crate(4))
  })

  test('that is no type is refused as that', () => {
    const found = (): unknown => packed('pack: create')
    expect(found).toThrow(ConfigError)
    expect(found).toThrow(/pack\.kind[^]*crate/)
    expect(() => packed('pack: 5')).toThrow(/a map of keys/)
  })
})

describe('errors', () => {
  test('an unknown type names the known ones, and nothing else is said of its keys', () => {
    expect(problems('post: { a: { kind: botle, beach: b, nonsense: 1 } }')).toMatchObject([
      {
        code: 'CONFIG_BAD_VALUE',
        key: 'post.a.kind',
        got: '"botle"',
        wanted: 'one of pigeon, bottle',
        fix: 'write bottle',
        origin: { line: 1 },
      },
    ])
    expect(problems('post: { a: { kind: } }')).toMatchObject([{ key: 'post.a.kind', got: 'null' }])
  })

  test('a key of another type says whose it is, one of none is unknown', () => {
    expect(problems('post:\n  a:\n    beach: b\n    beech: b\n')).toMatchObject([
      {
        code: 'CONFIG_UNKNOWN_KEY',
        key: 'post.a.beach',
        got: 'a key that belongs to kind bottle',
        wanted: 'a key of kind pigeon',
        fix: 'remove it, or write kind: bottle',
        origin: { line: 3 },
      },
      { code: 'CONFIG_UNKNOWN_KEY', key: 'post.a.beech', got: 'an unknown key' },
    ])
  })

  test('a key that the type needs, a value in a section of it, and what is no map at all', () => {
    expect(problems('post: { a: { kind: bottle } }')).toMatchObject([
      { code: 'CONFIG_MISSING_KEY', key: 'post.a.beach' },
    ])
    expect(problems('post: { a: { hold: { letters: 10 } } }')).toMatchObject([
      { code: 'CONFIG_BAD_VALUE', key: 'post.a.hold.letters', got: '10' },
    ])
    expect(problems('post: { a: 5, b: [] }')).toMatchObject([
      { key: 'post.a', got: '5', wanted: 'a map of keys' },
      { key: 'post.b', got: 'an empty list', wanted: 'a map of keys' },
    ])
  })

  test('a secret of one type is not repeated under another', () => {
    const found = problems(
      'post: { a: { message: swordfish }, b: { kind: x, message: swordfish } }',
    )
    expect(found).toHaveLength(2)
    expect(JSON.stringify(found)).not.toContain('swordfish')
  })
})

describe('the environment', () => {
  test('sets the type, whatever the order of the names, and keys of that type', () => {
    const env = {
      SLUICE__POST__USUAL__BEACH: '/b',
      SLUICE__POST__USUAL__HOLD: '2KiB',
      SLUICE__POST__USUAL__KIND: 'bottle',
    }
    expect(load('', env)).toEqual({
      post: { usual: { ...BOTTLE, beach: '/b', hold: 2048 } },
    })
    expect(
      load('post: { x: { hold: { letters: 2 } } }', {
        SLUICE__POST__X: '{ kind: bottle, beach: /b }',
        SLUICE__POST__X__MESSAGE__FILE: '/m',
      }),
    ).toEqual({ post: { x: { ...BOTTLE, beach: '/b', message: { file: '/m' } } } })
  })

  test('sets the type before a key that the type in the file has as something else', () => {
    const env = { SLUICE__POST__A__HOLD__LETTERS: '5', SLUICE__POST__A__KIND: 'pigeon' }
    expect(load('post: { a: { kind: bottle } }', env)).toEqual({
      post: { a: { ...PIGEON, hold: { letters: 5 }, nest: folder.path } },
    })
  })

  test('makes a new entry of another type', () => {
    const env = { SLUICE__POST__NEW_ONE__BEACH: '/b', SLUICE__POST__NEW_ONE__KIND: 'bottle' }
    expect(load('', env).post['new-one']).toEqual({ ...BOTTLE, beach: '/b' })
  })

  test('goes into the section that only one type has', () => {
    expect(load('', { SLUICE__POST__USUAL__HOLD__LETTERS: '5' }).post['usual']).toMatchObject({
      hold: { letters: 5 },
    })
    expect(
      problems('post: { a: { kind: bottle, beach: b } }', { SLUICE__POST__A__HOLD__LETTERS: '5' }),
    ).toMatchObject([
      { code: 'CONFIG_ENVIRONMENT', got: 'the variable SLUICE__POST__A__HOLD__LETTERS' },
    ])
  })

  test('a key of another type is refused as one, by the name of its variable', () => {
    const name = 'SLUICE__POST__USUAL__BEACH'
    expect(problems('', { [name]: '/b' })).toMatchObject([
      {
        key: 'post.usual.beach',
        got: 'a key that belongs to kind bottle',
        origin: { kind: 'environment', name },
      },
    ])
    expect(problems('', { [name]: '/b', SLUICE__POST__USUAL__KIND: 'botle' })).toMatchObject([
      { key: 'post.usual.kind', fix: 'write bottle' },
    ])
  })

  test('a key in the file against a type that a variable chose: the file cannot choose another', () => {
    const name = 'SLUICE__POST__A__KIND'
    expect(problems('post: { a: { nest: n } }', { [name]: 'bottle' })).toMatchObject([
      { key: 'post.a.beach' },
      {
        key: 'post.a.nest',
        origin: { kind: 'file', line: 1 },
        fix: `remove it, or the variable ${name}`,
      },
    ])
    const whole = { SLUICE__POST__A: '{ kind: bottle, beach: b, nest: n }' }
    expect(problems('', whole)).toMatchObject([{ fix: 'remove it, or write kind: pigeon' }])
  })

  test('a name that is none gets the nearest of its type', () => {
    expect(problems('', { SLUICE__POST__USUAL__NESTS: '/b' })).toMatchObject([
      { fix: 'write SLUICE__POST__USUAL__NEST' },
    ])
  })
})

describe('printing and describing', () => {
  test('what is printed loads as the same, with the units and secrets of its type', () => {
    const config = load('post: { a: { kind: bottle, beach: b, message: swordfish }, b: {} }')
    const printed = effectiveYaml(root, config)
    expect(parse(printed)).toEqual({
      post: {
        a: {
          kind: 'bottle',
          hold: '1KiB',
          message: '(hidden)',
          beach: `${folder.path}/b`,
          patience: '1d',
        },
        b: { kind: 'pigeon', hold: { letters: 3 }, nest: folder.path, patience: '1s' },
      },
    })
    expect(Object.keys(parse(printed).post.a)[0]).toBe('kind')
    const plain = load('post: { a: { kind: bottle, beach: b }, b: {} }')
    expect(load(effectiveYaml(root, plain))).toEqual(plain)
  })

  test('the table has the common keys once, and with its type each key and default of a type', () => {
    const rows = describeKeys(root).map(({ path: at, type, default: value, only }) => [
      at,
      type,
      value,
      only === null ? '' : `${only.key} ${only.value}`,
    ])
    expect(rows).toEqual([
      ['post.<name>.kind', 'choice', 'pigeon', ''],
      ['post.<name>.patience', 'duration', '1s', ''],
      ['post.<name>.hold.letters', 'integer', '3', 'kind pigeon'],
      ['post.<name>.nest', 'path', '.', 'kind pigeon'],
      ['post.<name>.hold', 'size', '1KiB', 'kind bottle'],
      ['post.<name>.message', 'secret', 'null', 'kind bottle'],
      ['post.<name>.beach', 'path', 'required', 'kind bottle'],
      ['post.<name>.patience', 'duration', '1d', 'kind bottle'],
    ])
  })
})

test('anything, by file and by environment, is taken as what prints and loads the same, or refused with problems', () => {
  const any = (...values: readonly unknown[]) => fc.constantFrom(...values)
  const optional = { requiredKeys: [] }
  const pigeon = { hold: any({}, { letters: 2 }, null), nest: any('x'), patience: any('5s') }
  const bottle = {
    kind: any('bottle'),
    beach: any('x'),
    hold: any('2KiB', 3),
    message: any('x', { file: 'm' }, null),
  }
  const wild = { ...pigeon, ...bottle, kind: any('pigeon', 'botle', null), ['__proto__']: any(1) }
  const entry = fc.oneof(
    fc.record(pigeon, optional),
    fc.record(bottle, { requiredKeys: ['kind', 'beach'] }),
    fc.record(wild, optional),
  )
  const names = ['KIND', 'HOLD', 'HOLD__LETTERS', 'MESSAGE__FILE', 'BEACH', 'PATIENCE']
  const env = fc.dictionary(
    fc.constantFrom(...names.map((name) => `SLUICE__POST__USUAL__${name}`)),
    fc.constantFrom('pigeon', 'bottle', '2', '2KiB', '5s', '/b'),
    { maxKeys: 3, noNullPrototype: true },
  )
  let taken = 0
  fc.assert(
    fc.property(entry, env, (usual, variables) => {
      try {
        const config = load(JSON.stringify({ post: { usual } }), variables)
        taken += 1
        expect(load(effectiveYaml(root, config).replace('(hidden)', 'x'))).toEqual(config)
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        expect(error.problems.length).toBeGreaterThan(0)
      }
    }),
    { numRuns: 500 },
  )
  expect(taken).toBeGreaterThan(50)
})
