/**
 * Programs that a test can use but npm does not install (mosquitto clients, promtool, gcc, python3,
 * gzip). Concerns programs only, not privileges. Tests that need some: tool-tests.ts.
 */
import { accessSync, constants, readdirSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin', ...postgresFolders()]

/**
 * Absolute path of a program, or null. Looks in PATH, then where servers live that are not on a
 * user's PATH.
 */
export function findTool(name: string): string | null {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...SYSTEM_FOLDERS]
  for (const folder of folders) {
    if (folder === '') continue
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      if (statSync(path).isFile()) return path
    } catch {
      continue
    }
  }
  return null
}

/** True: a missing program is a failure, as in CI. */
export function toolsAreRequired(): boolean {
  return process.env['SLUICE_REQUIRE_TOOLS'] === '1'
}

/** Names of those that are missing. */
export function missingTools(names: readonly string[]): string[] {
  return names.filter((name) => findTool(name) === null)
}

/** In words, for the skip line and the failure. */
export function missingLine(names: readonly string[]): string {
  return `needs ${names.join(', ')}, which ${names.length === 1 ? 'is' : 'are'} not on PATH`
}

/**
 * True if the program is there, false if it is not and the caller is to skip.
 * @throws where SLUICE_REQUIRE_TOOLS=1 and the program is missing
 */
export function requireTool(name: string): boolean {
  if (findTool(name) !== null) return true
  if (toolsAreRequired())
    throw new Error(`${missingLine([name])}, and SLUICE_REQUIRE_TOOLS=1 forbids a skip`)
  return false
}

/** Debian keeps each version's server in a folder of its own, the newest first. */
function postgresFolders(): string[] {
  const parent = '/usr/lib/postgresql'
  try {
    const versions = readdirSync(parent).toSorted((a, b) => Number(b) - Number(a))
    return versions.map((version) => join(parent, version, 'bin'))
  } catch {
    return []
  }
}
