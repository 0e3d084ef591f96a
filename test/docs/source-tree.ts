/**
 * Reads the source tree: files, what they import, and how. Line by line, for code that a formatter
 * has laid out.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

export const ROOT = new URL('../..', import.meta.url).pathname

export interface Import {
  /** As written. */
  readonly specifier: string
  /** Path from the root for a relative one, else null. */
  readonly file: string | null
  /** Name of the package for a bare one, else null. `node:` modules have none. */
  readonly packageName: string | null
  /** `import type`, or every name in the braces is one. */
  readonly typeOnly: boolean
  /** `import()`: only where it is reached. */
  readonly isDynamic: boolean
}

export interface SourceFile {
  /** From the root, with slashes. */
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
  readonly imports: readonly Import[]
}

/** All files below a folder of the root whose names end so, sorted. */
export function filesBelow(folder: string, ends: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ends))
    .map((name) => `${folder}/${name}`)
    .toSorted()
}

export function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

export function readSource(path: string): SourceFile {
  const text = readText(path)
  return { path, text, lines: text.trimEnd().split('\n'), imports: importsOf(path, text) }
}

export function sources(...folders: readonly string[]): SourceFile[] {
  return folders.flatMap((folder) =>
    filesBelow(folder, '')
      .filter((path) => /\.tsx?$/.test(path))
      .map(readSource),
  )
}

const STATEMENT =
  /^(?:import|export)\s+(type\s+)?([^'"()]*?)\s*from\s*['"]([^'"]+)['"]|^import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm

/** Static and dynamic imports, re-exports, and imports for their effects. */
export function importsOf(path: string, text: string): Import[] {
  return [...text.matchAll(STATEMENT)].map((match) => {
    const [, type, names = '', from, effect, dynamic] = match
    const specifier = from ?? effect ?? dynamic ?? ''
    return {
      specifier,
      file: specifier.startsWith('.') ? normalize(join(dirname(path), specifier)) : null,
      packageName: packageOf(specifier),
      typeOnly: from !== undefined && (type !== undefined || allNamesAreTypes(names)),
      isDynamic: dynamic !== undefined,
    }
  })
}

function allNamesAreTypes(names: string): boolean {
  const braces = /^\{([^}]*)\}$/s.exec(names.trim())?.[1]
  if (braces === undefined) return false
  const each = braces.split(',').map((name) => name.trim())
  return each.every((name) => name === '' || name.startsWith('type '))
}

function packageOf(specifier: string): string | null {
  if (specifier.startsWith('.') || specifier.startsWith('node:')) return null
  const parts = specifier.split('/')
  return specifier.startsWith('@') ? parts.slice(0, 2).join('/') : (parts[0] ?? null)
}
