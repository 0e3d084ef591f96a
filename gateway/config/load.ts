/**
 * A configuration as its reader gets it: one YAML file, the environment over it, defaults below it,
 * checked as a whole. Reads that file and nothing else; the files that a configuration names are
 * read by the stages that use them. Not here: which keys there are (the schema is handed in).
 */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { clashingNames, overlayEnvironment } from './environment.ts'
import { ConfigError, type Origin, type Problem, type Report } from './problems.ts'
import type { AnySchema, Schema } from './schema.ts'
import { fillEmptySections, nameProblems, type OriginOf, schemaProblems } from './validate.ts'
import { keyPath, mapLeaves, type Path } from './walk.ts'
import { readYaml, type YamlSource } from './yaml.ts'

/** A configuration that is larger was not written by hand, and not for us. */
const MAX_FILE_BYTES = 1024 * 1024

export interface ConfigSource {
  /** null: defaults and the environment alone. A relative one counts from `cwd`. */
  readonly file: string | null
  readonly env: Readonly<Record<string, string | undefined>>
  /** Relative paths count from the file's folder; without a file, from here. */
  readonly cwd: string
}

/** What there is to configure: made by the composition, of the sections of the stages. */
export interface ConfigSchema<T> {
  readonly root: Schema<T>
  /** What the schema of one key cannot see: references, and limits that contradict each other. */
  readonly check: (config: T, report: Report) => void
}

export interface LoadedConfig<T> {
  readonly config: T
  /** What works, but hardly as it was meant. One sentence each, beginning with the key. */
  readonly warnings: readonly string[]
}

/**
 * Reads the file, lays the environment over it, fills in defaults, checks all of it, and makes paths
 * absolute.
 * @throws ConfigError with every problem that was found, not only the first
 */
export function loadConfig<T>(
  { root, check }: ConfigSchema<T>,
  { file, env, cwd }: ConfigSource,
): LoadedConfig<T> {
  const source = file === null ? EMPTY : readSource(file, resolve(cwd, file))
  const overlay = overlayEnvironment(root, source.data, env)
  const originOf = (path: Path): Origin => {
    const name = overlay.variableOf(path)
    return name === null ? source.placeOf(path) : { kind: 'environment', name }
  }
  const data = fillEmptySections(root, overlay.data)
  const clashes = clashingNames(root, data).map(
    ({ name, first, second }): Problem => ({
      code: 'CONFIG_CONFLICT',
      origin: originOf(second),
      key: keyPath(second),
      got: `a key that ${name} means, as it means ${keyPath(first)}`,
      wanted: 'a variable name of its own for each key',
      fix: 'rename one of the two',
    }),
  )
  const early = [...overlay.problems, ...nameProblems(root, data, originOf), ...clashes]
  const parsed = root.safeParse(data)
  if (!parsed.success)
    throw new ConfigError([...early, ...schemaProblems(root, data, parsed.error.issues, originOf)])
  const { problems, warnings, report } = collect(originOf)
  check(parsed.data, report)
  if (early.length + problems.length > 0) throw new ConfigError([...early, ...problems])
  const base = file === null ? cwd : dirname(resolve(cwd, file))
  return {
    config: resolvePaths(root, parsed.data, base),
    warnings: [...warnings, ...misspelledPrefixes(env)],
  }
}

/**
 * Some sections of a configuration that is refused, without the keys in them that are; defaults for
 * all else. Enough to find what runs with an earlier one.
 */
export function loadSections<T>(
  root: Schema<T>,
  { file, env, cwd }: ConfigSource,
  names: ReadonlySet<string>,
): T {
  const read = file === null ? {} : readLeniently(file, resolve(cwd, file))
  const { data } = overlayEnvironment(root, isSection(read) ? read : {}, env)
  const some = Object.entries(isSection(data) ? data : {}).filter(([name]) => names.has(name))
  const sections = fillEmptySections(root, structuredClone(Object.fromEntries(some)))
  const first = root.safeParse(sections)
  for (const issue of first.error?.issues ?? []) {
    const { path } = issue
    const keys = issue.code === 'unrecognized_keys' ? issue.keys : null
    for (const each of keys?.map((key) => [...path, key]) ?? [path]) removeAt(sections, each)
  }
  const parsed = first.success ? first : root.safeParse(sections)
  const base = file === null ? cwd : dirname(resolve(cwd, file))
  return resolvePaths(root, parsed.success ? parsed.data : root.parse({}), base)
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function readLeniently(shown: string, file: string): unknown {
  try {
    const result = readYaml(shown, readText(shown, file))
    return 'problems' in result ? result.rest : result.data
  } catch (error) {
    if (error instanceof ConfigError) return {}
    throw error
  }
}

function removeAt(value: unknown, path: readonly PropertyKey[]): void {
  const [key, ...rest] = path
  if (key === undefined || !isSection(value)) return
  if (rest.length === 0) delete value[String(key)]
  else removeAt(value[String(key)], rest)
}

const EMPTY: YamlSource = { data: {}, placeOf: () => ({ kind: 'default' }) }

/** @param shown the name as the user gave it, for messages */
function readSource(shown: string, file: string): YamlSource {
  const result = readYaml(shown, readText(shown, file))
  if ('problems' in result) throw new ConfigError(result.problems)
  return result
}

function readText(shown: string, file: string): string {
  const unreadable = (got: string, wanted: string, fix: string) =>
    new ConfigError([
      {
        code: 'CONFIG_UNREADABLE',
        origin: { kind: 'file', file: shown, line: null },
        key: '',
        got,
        wanted,
        fix,
      },
    ])
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    const fix =
      code === 'ENOENT' ? `create ${file}, or name another with --config` : 'make it readable'
    throw unreadable(
      code === 'ENOENT' ? 'no file of this name' : `the error ${code}`,
      'a readable file',
      fix,
    )
  }
  if (bytes.length > MAX_FILE_BYTES)
    throw unreadable(
      `${bytes.length} bytes`,
      `at most ${MAX_FILE_BYTES}`,
      'name the configuration file',
    )
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw unreadable('bytes that are not UTF-8', 'UTF-8 text', 'save it as UTF-8')
  }
}

function collect(originOf: OriginOf) {
  const problems: Problem[] = []
  const warnings: string[] = []
  const report: Report = {
    complain: (path, complaint) =>
      problems.push({
        code: 'CONFIG_CONFLICT',
        origin: originOf(path),
        key: keyPath(path),
        ...complaint,
      }),
    warn: (path, text) => warnings.push(`${keyPath(path)}: ${text}`),
  }
  return { problems, warnings, report }
}

function resolvePaths<T>(root: AnySchema, config: T, base: string): T {
  const resolved = mapLeaves(root, config, (value, { kind }) => {
    if (kind === 'path') return typeof value === 'string' ? resolve(base, value) : value
    if (kind !== 'secret' || typeof value !== 'object' || value === null || !('file' in value))
      return value
    return { file: resolve(base, String(value.file)) }
  })
  return resolved as T
}

/** `SLUICE_MQTT__…` is somebody's mistake, but the prefix is not ours alone: not an error. */
function misspelledPrefixes(env: ConfigSource['env']): string[] {
  return Object.keys(env)
    .filter((name) => /^SLUICE_[A-Z]+__/.test(name))
    .map((name) => `${name}: is not read; names begin with SLUICE__ (two underscores)`)
}
