/**
 * Programs that a test can use but npm does not install (mosquitto clients, promtool, gcc, python3, gzip). Without
 * one its test is skipped with a line that says what is missing; SLUICE_REQUIRE_TOOLS=1 turns that skip into a
 * failure. skip-reporter.ts lists the skips at the end of a run. Concerns programs only, not privileges.
 */
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe, test } from 'vitest'

const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin']

/** Absolute path of a program, or null. Looks in PATH, then where servers live that are not on a user's PATH. */
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
  if (toolsAreRequired()) throw new Error(`${missingLine([name])}, and SLUICE_REQUIRE_TOOLS=1 forbids a skip`)
  return false
}

/** A test that runs when all `tools` are there; otherwise it is skipped with a line, or fails where they are required. */
export function testWithTool(
  tools: string | readonly string[],
  name: string,
  body: () => Promise<void> | void,
  timeoutMs?: number,
): void {
  const missing = missingTools(typeof tools === 'string' ? [tools] : tools)
  if (missing.length === 0) {
    test(name, body, timeoutMs)
    return
  }
  test(name, (context) => {
    if (toolsAreRequired()) {
      throw new Error(`${missingLine(missing)}, and SLUICE_REQUIRE_TOOLS=1 forbids a skip`)
    }
    context.skip(missingLine(missing))
  })
}

/** A group of tests that need `tools`. Without them its body is not run: one skipped (or failing) test stands for it. */
export function describeWithTool(tools: string | readonly string[], name: string, body: () => void): void {
  const names = typeof tools === 'string' ? [tools] : tools
  if (missingTools(names).length === 0) {
    describe(name, body)
    return
  }
  describe(name, () => {
    testWithTool(names, 'every test of this group', () => undefined)
  })
}
