/**
 * Tests that need programs of tools.ts. Without one such a test is skipped with a line that says
 * what is missing; SLUICE_REQUIRE_TOOLS=1 turns that skip into a failure. skip-reporter.ts lists
 * the skips at the end of a run.
 */
import { describe, type TestContext, test } from 'vitest'
import { missingLine, missingTools, toolsAreRequired } from './tools.ts'

/**
 * A test that runs when all `tools` are there; otherwise it is skipped with a line, or fails where
 * they are required.
 */
export function testWithTool(
  tools: string | readonly string[],
  name: string,
  body: (context: TestContext) => Promise<void> | void,
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

/**
 * A group of tests that need `tools`. Without them its body is not run: one skipped (or failing)
 * test stands for it.
 */
export function describeWithTool(
  tools: string | readonly string[],
  name: string,
  body: () => void,
): void {
  const names = typeof tools === 'string' ? [tools] : tools
  if (missingTools(names).length === 0) {
    describe(name, body)
    return
  }
  describe(name, () => {
    testWithTool(names, 'every test of this group', () => undefined)
  })
}
