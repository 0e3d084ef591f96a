/** The files and folders that a configuration names, found by its schema. */
import { readFileSync } from 'node:fs'
import { type AnySchema, isMap } from '../schema.ts'
import { keyPath, mapLeaves } from '../walk.ts'
import { readYaml } from '../yaml.ts'

interface PathInConfig {
  /** Dotted. */
  readonly key: string
  readonly path: string
  /** It holds a secret of the configuration, and nothing else. */
  readonly isSecret: boolean
}

/** @param config as it was loaded with `root`: paths are absolute */
export function pathsIn(root: AnySchema, config: unknown): PathInConfig[] {
  const found: PathInConfig[] = []
  mapLeaves(root, config, (value, { kind }, path) => {
    const key = keyPath(path)
    if (kind === 'path' && typeof value === 'string')
      found.push({ key, path: value, isSecret: false })
    if (kind === 'secret' && isMap(value) && typeof value['file'] === 'string')
      found.push({ key, path: value['file'], isSecret: true })
    return value
  })
  return found
}

/** Does a configuration file spell a secret out? False as well where it cannot be read. */
export function spellsOutSecret(root: AnySchema, file: string): boolean {
  let spelledOut = false
  try {
    const source = readYaml(file, readFileSync(file, 'utf8'))
    if ('problems' in source) return false
    mapLeaves(root, source.data, (value, { kind }) => {
      spelledOut ||= kind === 'secret' && typeof value === 'string'
      return value
    })
  } catch {
    return false
  }
  return spelledOut
}
