import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * A file of the repository that is not built, for callers that are sources and for those that are
 * built themselves.
 */
export function sourcePath(name: string): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, name))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error(`${name} is not there`)
    folder = parent
  }
  return join(folder, name)
}
