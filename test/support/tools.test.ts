import { afterEach, describe, expect, test, vi } from 'vitest'
import { testWithTool } from './tool-tests.ts'
import { findTool, missingLine, missingTools, requireTool } from './tools.ts'

const ABSENT = 'no-such-program-here'

afterEach(() => vi.unstubAllEnvs())

describe('tools', () => {
  test('a program on PATH is found with its absolute path', () => {
    expect(findTool('node')).toMatch(/^\/.*node$/)
    expect(requireTool('node')).toBe(true)
  })

  test('a missing program means skip', () => {
    vi.stubEnv('SLUICE_REQUIRE_TOOLS', '')
    expect(requireTool(ABSENT)).toBe(false)
    expect(missingLine(missingTools(['node', ABSENT]))).toBe(
      `needs ${ABSENT}, which is not on PATH`,
    )
  })

  test('SLUICE_REQUIRE_TOOLS=1 turns the skip into a failure', () => {
    vi.stubEnv('SLUICE_REQUIRE_TOOLS', '1')
    expect(() => requireTool(ABSENT)).toThrow(/SLUICE_REQUIRE_TOOLS=1 forbids a skip/)
  })

  let ran = false
  testWithTool('node', 'a test whose program is there runs', () => {
    ran = true
  })
  test('and its body was called', () => {
    expect(ran).toBe(true)
  })
})
