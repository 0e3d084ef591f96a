/** Where the configuration is searched if `--config` does not name it. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

/** The first of these that exists; SLUICE_CONFIG wins whether its file exists or not. */
const DEFAULT_PLACES = ['./sluice.yaml', '/etc/sluice/sluice.yaml'] as const

interface ConfigPlace {
  /** null: nowhere, so the defaults are in effect. */
  readonly file: string | null
  /** For a person: where it was found. */
  readonly why: string
}

export function findConfig(
  flag: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  cwd: string,
  exists: (path: string) => boolean = existsSync,
): ConfigPlace {
  if (flag !== undefined) return { file: flag, why: '--config' }
  const named = env['SLUICE_CONFIG'] ?? ''
  if (named !== '') return { file: named, why: 'SLUICE_CONFIG' }
  const found = DEFAULT_PLACES.find((place) => exists(resolve(cwd, place)))
  if (found !== undefined) return { file: found, why: 'found there' }
  return { file: null, why: `neither SLUICE_CONFIG nor ${DEFAULT_PLACES.join(' nor ')}` }
}
