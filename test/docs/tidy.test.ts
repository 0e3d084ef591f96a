/**
 * House rules over the source tree that no linter here checks: what a reader may rely on in every
 * file.
 */
import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { filesBelow, ROOT, readText, sources } from './source-tree.ts'

/** About 150 lines is usual. More than `LONG` is seldom; more than `MAX` never. */
const LONG_LINES = 400
const MAX_LINES = 500
const SELDOM_SHARE = 0.05

const product = sources('gateway', 'device-sim')
const tests = sources('test')
const all = [...product, ...tests]

describe('every source file', () => {
  test(`has seldom more than ${LONG_LINES} lines, and never more than ${MAX_LINES}`, () => {
    const lengths = product.map((file) => ({ path: file.path, count: file.lines.length }))
    const long = lengths.filter(({ count }) => count > LONG_LINES)
    expect(long.filter(({ count }) => count > MAX_LINES)).toEqual([])
    expect(long.length, JSON.stringify(long)).toBeLessThanOrEqual(product.length * SELDOM_SHARE)
  })

  test('says at its top what it is for', () => {
    const silent = product.filter((file) => !/^(#!.*\n)?\/\*\*\s*\S/.test(file.text))
    expect(silent.map((file) => file.path)).toEqual([])
  })

  test('has a kebab-case name', () => {
    const name = /^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.config)?\.tsx?$/
    expect(
      all.map((file) => file.path).filter((path) => !name.test(path.split('/').at(-1) ?? '')),
    ).toEqual([])
  })

  // That nothing is typed `any` and nothing exported as default is the linter's to see: it knows
  // types from text.
  test('silences no checker without saying why', () => {
    const silences = all.flatMap((file) =>
      file.lines.flatMap((line, i) => {
        const isSilent =
          /@ts-(ignore|nocheck)\b/.test(line) || /(eslint|oxlint)-disable(?!.*--)/.test(line)
        return isSilent ? [`${file.path}:${i + 1}`] : []
      }),
    )
    expect(silences.filter((place) => !place.startsWith('test/docs/tidy.test.ts'))).toEqual([])
  })

  test('the linter forbids any and default exports', () => {
    const { rules } = JSON.parse(readText('.oxlintrc.json')) as { rules: Record<string, string> }
    expect(rules).toMatchObject({
      'typescript/no-explicit-any': 'error',
      'import/no-default-export': 'error',
    })
  })

  test('names no file in a comment that is not there', () => {
    const below = ['gateway', 'device-sim', 'dashboards', 'test']
    const files = ['CHANGELOG.md', ...below.flatMap((folder) => filesBelow(folder, ''))]
    const suffixes = new Set(
      files.flatMap((path) => path.split('/').map((_, i, parts) => parts.slice(i).join('/'))),
    )
    const named = all.flatMap(({ path, lines }) =>
      lines
        .filter((line) => /^\s*(\/?\*|\/\/)/.test(line))
        .flatMap((line) => [...line.matchAll(/(?<![\w/.-])[\w./-]*[\w-]+\.(?:c?tsx?|md)\b/g)])
        .map(([name]) => ({ path, name: name.replace(/^(\.\.?\/)+/, '') })),
    )
    expect(named.length).toBeGreaterThan(100)
    // Of LevelDB's sources.
    const foreign = ['doc/log_format.md']
    expect(named.filter(({ name }) => !suffixes.has(name) && !foreign.includes(name))).toEqual([])
  })

  test('is finished: no note to do it later', () => {
    const later = new RegExp(
      `\\b(${['TO', 'DO'].join('')}|${['FIX', 'ME'].join('')}|${['XX', 'X'].join('')})\\b`,
    )
    expect(all.filter((file) => later.test(file.text)).map((file) => file.path)).toEqual([])
  })
})

test('the top level holds what README says and nothing else', () => {
  const expected = [
    'CHANGELOG.md',
    'LICENSE',
    'dashboards',
    'device-sim',
    'docker-compose.yml',
    'gateway',
    'package-lock.json',
    'package.json',
    'README.md',
    'test',
    'tsconfig.json',
  ]
  const ignored = ['node_modules', 'dist', 'data', 'cloud-data']
  const found = readdirSync(ROOT).filter((name) => !name.startsWith('.') && !ignored.includes(name))
  expect(found.toSorted()).toEqual(expected.toSorted())
})
