/**
 * The conformance suite that aedes-persistence ships for implementations, run against ours: every
 * test of it, on a store in memory. It is written for node:test; the shim gives it vitest's `test`
 * and node's `assert`.
 */
import assert from 'node:assert'
import { createRequire } from 'node:module'
import { describe, test } from 'vitest'
import { createPersistence } from '../../../gateway/broker/aedes/persistence.ts'
import { emptyContents, storeOn } from '../sessions/keyed-store.ts'

interface TestContext {
  plan(count: number): void
  diagnostic(message: string): void
  readonly assert: typeof assert
}

type SuiteTest = (name: string, body: (t: TestContext) => Promise<void> | void) => void

type Suite = (options: {
  test: SuiteTest
  persistence: () => Promise<unknown>
  testAsync: boolean
}) => void

const conformanceSuite = createRequire(import.meta.url)('aedes-persistence/abstract.js') as Suite

/**
 * The suite's retained packets carry a member `id` that no MQTT message has; ours keep what a
 * message has.
 */
function withoutTestId(value: unknown): unknown {
  if (!Array.isArray(value)) return value
  return value.map((item: unknown) => {
    if (typeof item !== 'object' || item === null || !('retain' in item) || !('id' in item))
      return item
    const { id: _, ...packet } = item
    return packet
  })
}

const comparing = {
  ...assert,
  deepEqual: (actual: unknown, expected: unknown, message?: string) => {
    assert.deepEqual(actual, withoutTestId(expected), message)
  },
} as typeof assert

/** Planned and made assertions are compared, as node:test does it. */
const shim: SuiteTest = (name, body) => {
  test(name, async () => {
    let planned: number | null = null
    let made = 0
    const counting = new Proxy(comparing, {
      get(target, key) {
        made += 1
        return Reflect.get(target, key) as unknown
      },
    })
    await body({ plan: (count) => (planned = count), diagnostic: () => {}, assert: counting })
    if (planned !== null) assert.equal(made, planned, 'number of assertions')
  })
}

describe('the persistence adapter passes the conformance suite of aedes-persistence', () => {
  conformanceSuite({
    test: shim,
    persistence: async () => createPersistence(storeOn(emptyContents())),
    testAsync: true,
  })
})
