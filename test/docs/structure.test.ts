/**
 * The shape of the source tree: rooms of a size that one can look over, one way through them, one
 * name for one thing.
 */
import { dirname } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type SourceFile, sources } from './source-tree.ts'

const MAX_FILES_IN_A_FOLDER = 12
/** A folder of like files may hold as many as there are of them. */
const LIKE_FILES = ['gateway/cli/commands', 'gateway/admin/routes', 'gateway/sink/http/formats']

const gateway = sources('gateway')
const product = [...gateway, ...sources('device-sim')]
const everything = [...product, ...sources('test')]

test(`no folder holds more than ${MAX_FILES_IN_A_FOLDER} source files, but those of like files`, () => {
  const counts = new Map<string, number>()
  for (const { path } of product) counts.set(dirname(path), (counts.get(dirname(path)) ?? 0) + 1)
  const full = [...counts].filter(
    ([path, n]) => n > MAX_FILES_IN_A_FOLDER && !LIKE_FILES.includes(path),
  )
  expect(full).toEqual([])
})

/**
 * Groups of files that import each other in a loop, imports of types included (Tarjan's strongly
 * connected components).
 */
function circlesOf(files: readonly SourceFile[]): string[][] {
  const targets = new Map(
    files.map(({ path, imports }) => [path, imports.map(({ file }) => file ?? '')]),
  )
  const circles: string[][] = []
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: string[] = []
  const visit = (path: string): void => {
    index.set(path, index.size)
    low.set(path, index.get(path)!)
    stack.push(path)
    for (const target of targets.get(path) ?? []) {
      if (!targets.has(target)) continue
      if (!index.has(target)) visit(target)
      if (stack.includes(target)) low.set(path, Math.min(low.get(path)!, low.get(target)!))
    }
    if (low.get(path) !== index.get(path)) return
    const circle = stack.splice(stack.indexOf(path))
    if (circle.length > 1) circles.push(circle.toSorted())
  }
  for (const { path } of files) if (!index.has(path)) visit(path)
  return circles
}

const TYPE = /^export (?:abstract )?(?:class|interface|type) ([A-Za-z0-9]+)/gm
const EXPORTED =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|let) ([A-Za-z0-9_]+)/gm

function namesOf({ text }: SourceFile, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].flatMap(([, name]) => (name === undefined ? [] : [name]))
}

function exportedTypesTwice(files: readonly SourceFile[]): string[] {
  const places = new Map<string, string[]>()
  for (const file of files)
    for (const name of new Set(namesOf(file, TYPE)))
      places.set(name, [...(places.get(name) ?? []), file.path])
  return [...places]
    .filter(([, paths]) => paths.length > 1)
    .map(([name, paths]) => `${name}: ${paths.join(', ')}`)
}

/**
 * Exported, and named by no other file: neither imported nor, for a whole module, read as a member.
 */
function needlessExports(files: readonly SourceFile[], all: readonly SourceFile[]): string[] {
  const users = new Map<string, Set<string>>()
  for (const { path, text } of all)
    for (const [word] of text.matchAll(/[A-Za-z_][A-Za-z0-9_]*/g))
      users.set(word, (users.get(word) ?? new Set()).add(path))
  return files.flatMap((file) =>
    namesOf(file, EXPORTED)
      .filter((name) => [...(users.get(name) ?? [])].every((path) => path === file.path))
      .map((name) => `${file.path}: ${name}`),
  )
}

describe('the checks see what they are there for', () => {
  const file = (path: string, text: string, ...files: readonly string[]): SourceFile => ({
    path,
    text,
    lines: [],
    imports: files.map((each) => ({
      specifier: each,
      file: each,
      packageName: null,
      typeOnly: true,
      isDynamic: false,
    })),
  })
  test('a circle, of types too', () => {
    const files = [file('a', '', 'b'), file('b', '', 'c'), file('c', '', 'a'), file('d', '', 'a')]
    expect(circlesOf(files)).toEqual([['a', 'b', 'c']])
  })
  test('a name that two files export, and one that nobody imports', () => {
    const files = [
      file('a', 'export interface One {}\nexport type Two = 1'),
      file('b', 'export class One {}'),
      file('c', 'let x: One'),
    ]
    expect(exportedTypesTwice(files)).toEqual(['One: a, b'])
    expect(needlessExports(files, files)).toEqual(['a: Two'])
  })
})

test('no files import each other in a circle, types included', () => {
  expect(circlesOf(product)).toEqual([])
})

test('no exported type has a name that another one of the gateway has', () => {
  expect(exportedTypesTwice(gateway)).toEqual([])
})

test('nothing is exported that no other file uses', () => {
  expect(needlessExports(product, everything)).toEqual([])
})
