import { describe, expect, test } from 'vitest'
import {
  type CheckRequest,
  MAX_QUEUED_CHECKS,
  PasswordChecks,
} from '../../../gateway/shared/passwords/password-checks.ts'
import { unmatchableHash } from '../../../gateway/shared/passwords/password-file.ts'

const STORED = unmatchableHash()

/** A hash that takes until the test says so; 'right' is the right password. */
class HeldHash {
  now = 0
  inProgress = 0
  most = 0
  readonly order: string[] = []
  readonly #held: (() => void)[] = []

  readonly verify = async (password: Uint8Array): Promise<boolean> => {
    const text = Buffer.from(password).toString()
    this.order.push(text)
    this.inProgress += 1
    this.most = Math.max(this.most, this.inProgress)
    await new Promise<void>((resolve) => void this.#held.push(resolve))
    this.inProgress -= 1
    return text.startsWith('right')
  }

  /** Ends the hash in progress, and lets everything that follows from it happen. */
  async finish(): Promise<void> {
    this.#held.shift()?.()
    await settled()
  }

  checks(maxWaitMs = 10_000): PasswordChecks {
    return new PasswordChecks({
      maxWaitMs: () => maxWaitMs,
      verify: this.verify,
      now: () => this.now,
    })
  }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setTimeout(resolve, 1))
}

function guess(password: string, address = '10.0.0.1', user = 'u'): CheckRequest {
  return { address, user, password: Buffer.from(password), stored: STORED, unknownUser: false }
}

describe('slow hashes', () => {
  test('are computed one at a time, in order', async () => {
    const hash = new HeldHash()
    const checks = hash.checks()
    const verdicts = ['right 1', 'right 2', 'right 3'].map(async (text) =>
      checks.check(guess(text)),
    )
    for (let i = 0; i < 3; i += 1) await hash.finish()
    expect(await Promise.all(verdicts)).toEqual(['right', 'right', 'right'])
    expect([hash.most, hash.order]).toEqual([1, ['right 1', 'right 2', 'right 3']])
  })

  test('I6: the queue at its limit is served, one more is told to come later', async () => {
    const hash = new HeldHash()
    const checks = hash.checks()
    const verdicts = Array.from({ length: MAX_QUEUED_CHECKS + 1 }, async (_, i) =>
      checks.check(guess(`right ${i}`)),
    )
    expect(await checks.check(guess('right too many'))).toBe('busy')
    for (const _ of verdicts) await hash.finish()
    expect(new Set(await Promise.all(verdicts))).toEqual(new Set(['right']))
    expect(checks.stats).toEqual({
      computed: MAX_QUEUED_CHECKS + 1,
      refusedBusy: 1,
      refusedDamped: 0,
    })
  })

  test('are not computed for a client that has waited too long', async () => {
    const hash = new HeldHash()
    const checks = hash.checks(1_000)
    const first = checks.check(guess('right 1'))
    const second = checks.check(guess('right 2'))
    hash.now = 1_001
    await hash.finish()
    expect(await first).toBe('right')
    expect(await second).toBe('busy')
    expect(hash.order).toEqual(['right 1'])
  })

  test('of an unknown user are computed, and wrong whatever comes out', async () => {
    const hash = new HeldHash()
    const checks = hash.checks()
    const verdict = checks.check({ ...guess('right'), unknownUser: true })
    await hash.finish()
    expect(await verdict).toBe('wrong')
  })

  test('that fail for want of memory make nobody wrong', async () => {
    const verify = async (): Promise<boolean> => Promise.reject(new Error('memory limit exceeded'))
    const checks = new PasswordChecks({ maxWaitMs: () => 1_000, verify })
    expect(await checks.check(guess('right'))).toBe('busy')
    expect(await checks.check(guess('right'))).toBe('busy')
    expect(checks.stats.refusedDamped).toBe(0)
  })

  test('in the queue are answered at close', async () => {
    const hash = new HeldHash()
    const checks = hash.checks()
    void checks.check(guess('right 1'))
    const waiting = checks.check(guess('right 2'))
    checks.close()
    expect(await waiting).toBe('busy')
    expect(await checks.check(guess('right 3'))).toBe('busy')
    await hash.finish()
  })
})

describe('wrong passwords', () => {
  async function wrong(
    hash: HeldHash,
    checks: PasswordChecks,
    address: string,
    user: string,
  ): Promise<string> {
    const verdict = checks.check(guess('wrong', address, user))
    await hash.finish()
    return verdict
  }

  test('of one address and user pause them, twice as long each time', async () => {
    const hash = new HeldHash()
    const checks = hash.checks()
    for (const pause of [1_000, 2_000, 4_000]) {
      expect(await wrong(hash, checks, 'a', 'u')).toBe('wrong')
      expect(await checks.check(guess('right', 'a', 'u'))).toBe('damped')
      hash.now += pause - 1
      expect(await checks.check(guess('right', 'a', 'u'))).toBe('damped')
      hash.now += 1
    }
    const right = checks.check(guess('right', 'a', 'u'))
    await hash.finish()
    expect(await right).toBe('right')
    expect(await wrong(hash, checks, 'a', 'u')).toBe('wrong')
    hash.now += 1_000
    expect(await wrong(hash, checks, 'a', 'u')).toBe('wrong')
  })

  test('do not pause the same user elsewhere, nor another user there', async () => {
    const hash = new HeldHash()
    const checks = hash.checks()
    await wrong(hash, checks, 'a', 'u')
    for (const [address, user] of [
      ['b', 'u'],
      ['a', 'v'],
    ] as const) {
      const verdict = checks.check(guess('right', address, user))
      await hash.finish()
      expect(await verdict).toBe('right')
    }
  })

  test('of one address under many names: ten at once, then one a second', async () => {
    const hash = new HeldHash()
    const checks = hash.checks()
    for (let i = 0; i < 10; i += 1) expect(await wrong(hash, checks, 'a', `u${i}`)).toBe('wrong')
    expect(await checks.check(guess('wrong', 'a', 'u10'))).toBe('damped')
    hash.now += 999
    expect(await checks.check(guess('wrong', 'a', 'u10'))).toBe('damped')
    hash.now += 1
    expect(await wrong(hash, checks, 'a', 'u10')).toBe('wrong')
    expect(await checks.check(guess('wrong', 'a', 'u11'))).toBe('damped')
  })

  test('let others go first, and make room for them in a full queue', async () => {
    const hash = new HeldHash()
    const checks = hash.checks()
    await wrong(hash, checks, 'guesser', 'u')
    const first = checks.check(guess('right first', 'device-0'))
    const guesses = Array.from({ length: MAX_QUEUED_CHECKS }, async (_, i) =>
      checks.check(guess(`guess ${i}`, 'guesser', `u${i}`)),
    )
    const device = checks.check(guess('right device', 'device-1'))
    expect(await guesses.at(-1)).toBe('busy')
    await hash.finish()
    await hash.finish()
    expect(await Promise.all([first, device])).toEqual(['right', 'right'])
    expect(hash.order.slice(0, 3)).toEqual(['wrong', 'right first', 'right device'])
    checks.close()
  })
})
