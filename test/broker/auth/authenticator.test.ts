import { open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  type Authentication,
  Authenticator,
  type AuthenticatorOptions,
} from '../../../gateway/broker/auth/authenticator.ts'
import type { AuthConfig, ListenerConfig, MqttConfig } from '../../../gateway/broker/config.ts'
import type { BrokerEvent } from '../../../gateway/broker/events.ts'
import {
  AuthFileError,
  hashPassword,
  type PasswordHash,
} from '../../../gateway/shared/passwords/password-file.ts'
import {
  FAST_POLL_MS,
  LOOPBACK,
  mqttConfig,
  replaceFile,
  temporaryFolder,
} from '../listeners/listener-fixture.ts'
import { quickHash } from './quick-hash.ts'

interface Login {
  readonly user: string | null
  readonly password: string | null
  readonly clientId: string
  readonly address: string
  readonly listener: ListenerConfig
  readonly certificate: string | null
}

interface Opened {
  readonly authenticator: Authenticator
  readonly events: BrokerEvent[]
  readonly login: (
    user: string | null,
    password: string | null,
    changes?: Partial<Login>,
  ) => Promise<Authentication>
  readonly event: (type: BrokerEvent['type'], count?: number) => Promise<BrokerEvent>
}

async function openOn(
  config: MqttConfig,
  checks: NonNullable<AuthenticatorOptions['checks']> = {},
): Promise<Opened> {
  const events: BrokerEvent[] = []
  const emit = (event: BrokerEvent): void => void events.push(event)
  const authenticator = await Authenticator.open(config, emit, { filePollMs: FAST_POLL_MS, checks })
  onTestFinished(() => authenticator.close())
  const [listener = LOOPBACK] = config.listeners
  return {
    authenticator,
    events,
    login: async (user, password, changes = {}) =>
      authenticator.authenticate({
        listener: changes.listener ?? listener,
        clientId: changes.clientId ?? 'c1',
        username: user,
        password: password === null ? null : Buffer.from(password),
        remoteAddress: changes.address ?? '10.0.0.1',
        certificateSubject: changes.certificate ?? null,
      }),
    event: async (type, count = 1) => {
      for (;;) {
        const found = events.filter((event) => event.type === type)[count - 1]
        if (found !== undefined) return found
        await sleep(5)
      }
    },
  }
}

async function files(
  users: string,
  acl: string | null = null,
): Promise<{ passwordFile: string; aclFile: string }> {
  const folder = await temporaryFolder()
  const [passwordFile, aclFile] = [join(folder, 'users'), join(folder, 'acl')]
  await writeFile(passwordFile, users)
  if (acl !== null) await writeFile(aclFile, acl)
  return { passwordFile, aclFile }
}

const USERS = `press-7:${quickHash('seven')}\npress-8:${quickHash('eight')}\n`

async function withUsers(): Promise<Opened & { passwordFile: string }> {
  const { passwordFile } = await files(USERS)
  const auth = { passwordFile, aclFile: null }
  return { ...(await openOn(mqttConfig({ auth }))), ...auth }
}

async function withRules(acl: string): Promise<Opened & { passwordFile: string; aclFile: string }> {
  const auth = await files(USERS, acl)
  return { ...(await openOn(mqttConfig({ auth }))), ...auth }
}

function principalOf(authentication: Authentication) {
  if (!authentication.ok) throw new Error(authentication.reason)
  return authentication.principal
}

describe('authentication', () => {
  test('the right password opens, the wrong one and an unknown user are told the same', async () => {
    const { login } = await withUsers()
    expect(await login('press-7', 'seven')).toMatchObject({
      ok: true,
      principal: { user: 'press-7' },
    })
    const wrong = await login('press-7', 'eight', { address: '10.0.0.2' })
    expect(wrong).toEqual({ ok: false, returnCode: 4, reason: 'bad-credentials' })
    expect(await login('nobody', 'eight', { address: '10.0.0.3' })).toEqual(wrong)
  })

  test('a name without a password is a wrong password; no name at all is not authorized', async () => {
    const { login } = await withUsers()
    expect(await login('press-7', null)).toMatchObject({ ok: false, returnCode: 4 })
    expect(await login(null, null)).toEqual({ ok: false, returnCode: 5, reason: 'no-credentials' })
  })

  test('without auth everybody is anonymous and may everything; a verified certificate gives a name', async () => {
    const { login } = await openOn(mqttConfig())
    const principal = principalOf(await login('claimed', 'anything'))
    expect([principal.user, principal.mayPublish('a'), principal.maySubscribe('#')]).toEqual([
      null,
      true,
      true,
    ])
    expect(principalOf(await login(null, null, { certificate: 'press-7' })).user).toBe('press-7')
  })

  test('an access file without a password file is for the names in certificates, and for clients without a name', async () => {
    const { aclFile } = await files(
      '',
      'topic read public/#\nuser press-7\ntopic write plant/%u/#\npattern write any/%c',
    )
    const { login, event } = await openOn(mqttConfig({ auth: { passwordFile: null, aclFile } }))
    const press = principalOf(await login(null, null, { certificate: 'press-7' }))
    expect(press.user).toBe('press-7')
    expect(press.mayPublish('plant/press-7/temp')).toBe(true)
    expect([press.maySubscribe('public/#'), press.mayPublish('any/c1')]).toEqual([false, true])
    // What a client claims is no name.
    const nobody = principalOf(await login('press-7', 'whatever'))
    expect(nobody.user).toBeNull()
    expect(nobody.mayPublish('plant/press-7/temp')).toBe(false)
    expect([nobody.mayReceive('public/x'), nobody.mayPublish('any/c1')]).toEqual([true, true])
    await replaceFile(aclFile, 'topic write t/#')
    await event('broker.access-rules-loaded', 2)
    expect([nobody.mayPublish('t/1'), nobody.mayReceive('public/x')]).toEqual([true, false])
    expect(press.mayPublish('plant/press-7/temp')).toBe(false)
  })

  test('the auth of a listener overrides that of mqtt, and allowAnonymous opens no listener that has one', async () => {
    const [general, special] = [await files(USERS), await files(`other:${quickHash('other')}`)]
    const listeners = [
      LOOPBACK,
      { ...LOOPBACK, auth: { passwordFile: special.passwordFile, aclFile: null } },
      { ...LOOPBACK, auth: null },
    ] as const
    const auth = { passwordFile: general.passwordFile, aclFile: null }
    const { login } = await openOn(mqttConfig({ listeners, auth, allowAnonymous: true }))
    expect(await login('press-7', 'seven')).toMatchObject({ ok: true })
    expect(await login('press-7', 'seven', { listener: listeners[1] })).toMatchObject({
      returnCode: 4,
    })
    expect(await login('other', 'other', { listener: listeners[1] })).toMatchObject({ ok: true })
    expect(await login(null, null, { listener: listeners[2] })).toMatchObject({ ok: true })
    expect(await login(null, null)).toMatchObject({ returnCode: 5 })
  })

  test('a right password is computed once, then known; so is a wrong one that is repeated', async () => {
    const { authenticator, login } = await withUsers()
    for (let i = 0; i < 5; i += 1) await login('press-7', 'seven')
    expect(authenticator.stats).toMatchObject({
      accepted: 5,
      acceptedFromCache: 4,
      hashesComputed: 1,
    })
    for (let i = 0; i < 5; i += 1)
      expect(await login('press-7', 'old')).toMatchObject({ returnCode: 4 })
    expect(authenticator.stats).toMatchObject({ refusedCredentials: 5, hashesComputed: 2 })
  })

  test('a fleet with one name and password that connects at once costs one hash', async () => {
    const { authenticator, login } = await withUsers()
    const logins = Array.from({ length: 500 }, async (_, i) =>
      login('press-7', 'seven', { address: `10.0.1.${i % 250}` }),
    )
    expect((await Promise.all(logins)).every(({ ok }) => ok)).toBe(true)
    expect(authenticator.stats.hashesComputed).toBe(1)
  })

  test('known credentials open also while somebody at the same address keeps guessing', async () => {
    const { login } = await withUsers()
    await login('press-7', 'seven')
    for (let i = 0; i < 15; i += 1) await login('press-7', `guess ${i}`)
    expect(await login('press-7', 'guess 99')).toEqual({
      ok: false,
      returnCode: null,
      reason: 'login-damped',
    })
    expect(await login('press-7', 'seven')).toMatchObject({ ok: true })
  })

  test('name and password are not run together: "ab" + "c" is not "a" + "bc"', async () => {
    const { passwordFile } = await files(`ab:${quickHash('c')}\na:${quickHash('x')}\n`)
    const { login } = await openOn(mqttConfig({ auth: { passwordFile, aclFile: null } }))
    expect(await login('ab', 'c')).toMatchObject({ ok: true })
    expect(await login('a', 'bc')).toMatchObject({ ok: false })
  })
})

describe('files', () => {
  test('that are missing or broken at the start are an error that names file and line', async () => {
    const { passwordFile, aclFile } = await files('nonsense', 'user a\ntopic a#')
    const attempt = async (auth: AuthConfig) => Authenticator.open(mqttConfig({ auth }))
    await expect(attempt({ passwordFile, aclFile: null })).rejects.toThrow(
      `${passwordFile}:1: expected name:hash`,
    )
    await expect(attempt({ passwordFile: '/nowhere', aclFile: null })).rejects.toThrow(
      AuthFileError,
    )
    await replaceFile(passwordFile, USERS)
    await expect(attempt({ passwordFile, aclFile })).rejects.toThrow(
      `${aclFile}:2: the filter "a#"`,
    )
  })

  test('a changed password file counts at once, cached credentials included', async () => {
    const { event, login, passwordFile } = await withUsers()
    expect(await login('press-7', 'seven')).toMatchObject({ ok: true })
    await replaceFile(passwordFile, `press-7:${quickHash('changed')}\n`)
    await event('broker.credentials-loaded', 2)
    expect(await login('press-7', 'seven')).toMatchObject({ returnCode: 4 })
    expect(await login('press-7', 'changed', { address: '10.0.0.9' })).toMatchObject({ ok: true })
    expect(await login('press-8', 'eight')).toMatchObject({ ok: false })
  })

  test('a broken or missing new file keeps the old one in force and says so, until a good one comes', async () => {
    const { event, events, login, passwordFile } = await withUsers()
    await replaceFile(passwordFile, 'press-7:plain text\n')
    expect(await event('broker.auth-file-refused')).toMatchObject({ file: passwordFile })
    expect(await login('press-7', 'seven')).toMatchObject({ ok: true })
    await rm(passwordFile)
    await event('broker.auth-file-refused', 2)
    expect(await login('press-8', 'eight')).toMatchObject({ ok: true })
    await replaceFile(passwordFile, `press-9:${quickHash('nine')}\n`)
    await event('broker.credentials-loaded', 2)
    expect(await login('press-9', 'nine')).toMatchObject({ ok: true })
    expect(events.filter(({ type }) => type === 'broker.auth-file-refused')).toHaveLength(2)
  })

  test('new rules hold for sessions that are open, and the version tells', async () => {
    const { aclFile, event, login } = await withRules('user press-7\ntopic write a/#')
    const principal = principalOf(await login('press-7', 'seven'))
    const { version } = principal
    expect([principal.mayPublish('a/1'), principal.mayPublish('b/1')]).toEqual([true, false])
    await replaceFile(aclFile, 'user press-7\ntopic write b/#')
    await event('broker.access-rules-loaded', 2)
    expect(principal.version).toBeGreaterThan(version)
    expect([principal.mayPublish('a/1'), principal.mayPublish('b/1')]).toEqual([false, true])

    await replaceFile(aclFile, 'user press-7\ntopic wrt a')
    await event('broker.auth-file-refused')
    expect(principal.mayPublish('b/1')).toBe(true)
  })

  test('a user who was removed may nothing, also in a session that is open', async () => {
    const { event, login, passwordFile } = await withUsers()
    const principal = principalOf(await login('press-7', 'seven'))
    const { version } = principal
    expect(principal.mayPublish('a')).toBe(true)
    await replaceFile(passwordFile, `press-8:${quickHash('eight')}\n`)
    await event('broker.credentials-loaded', 2)
    expect(principal.version).toBeGreaterThan(version)
    expect([principal.mayPublish('a'), principal.maySubscribe('a')]).toEqual([false, false])
  })

  test('rules know the client id; without an access file a user may everything', async () => {
    const { login } = await withRules('pattern write d/%u/%c')
    const principal = principalOf(await login('press-7', 'seven', { clientId: 'c9' }))
    expect([principal.mayPublish('d/press-7/c9'), principal.mayPublish('d/press-7/c1')]).toEqual([
      true,
      false,
    ])
    expect(principalOf(await (await withUsers()).login('press-8', 'eight')).maySubscribe('#')).toBe(
      true,
    )
  })
})

describe('guessing', () => {
  const SLOW = mqttConfig()

  async function withSlowHash(): Promise<Opened> {
    const { passwordFile } = await files(`press-7:${await hashPassword('seven')}\n`)
    return openOn({ ...SLOW, auth: { passwordFile, aclFile: null } })
  }

  test('an unknown user costs a hash of the same parameters as a known one, in the same queue', async () => {
    const { passwordFile } = await files(USERS)
    const costs: string[] = []
    const verify = async (
      _: Uint8Array,
      { N, r, p, hash, salt }: PasswordHash,
    ): Promise<boolean> => {
      costs.push([N, r, p, salt.length, hash.length].join(' '))
      return Promise.resolve(false)
    }
    const auth = { passwordFile, aclFile: null }
    const { login } = await openOn(mqttConfig({ auth }), { verify })
    expect(await login('press-7', 'x', { address: '10.1.0.1' })).toMatchObject({ returnCode: 4 })
    expect(await login('nobody', 'x', { address: '10.1.0.2' })).toMatchObject({ returnCode: 4 })
    expect(costs).toEqual(['1024 8 1 16 32', '1024 8 1 16 32'])
  })

  test('even a stand-in hash that matched would not let an unknown user in', async () => {
    const { passwordFile } = await files(USERS)
    const verify = async (): Promise<boolean> => Promise.resolve(true)
    const { login } = await openOn(mqttConfig({ auth: { passwordFile, aclFile: null } }), {
      verify,
    })
    expect(await login('press-7', 'x')).toMatchObject({ ok: true })
    expect(await login('nobody', 'x')).toMatchObject({ returnCode: 4 })
  })

  /**
   * What 100 wrong passwords a second may cost: at most a quarter of one thread, whoever sends
   * them. The fsyncs that acks wait for run beside it on the same threads.
   */
  test.each([
    ['from one address', () => '10.3.0.1'],
    ['from an address each', (i: number) => `10.4.${i >> 8}.${i & 255}`],
  ])(
    '100 wrong passwords a second %s keep few hashes busy, and fsyncs go on',
    async (_, addressOf) => {
      const { authenticator, login } = await withSlowHash()
      const folder = await temporaryFolder()
      const file = await open(join(folder, 'file'), 'w')
      onTestFinished(() => file.close())
      const fsyncs = async (ms: number): Promise<number[]> => {
        const took: number[] = []
        for (const end = performance.now() + ms; performance.now() < end; await sleep(2)) {
          const begun = performance.now()
          await file.write('reading')
          await file.datasync()
          took.push(performance.now() - begun)
        }
        return took
      }
      const quiet = await fsyncs(500)
      let sent = 0
      const answers: Promise<Authentication>[] = []
      const begunMs = performance.now()
      const attack = setInterval(() => {
        // By the clock: a busy machine skips ticks.
        while (sent < (performance.now() - begunMs) / 10) {
          sent += 1
          answers.push(login(`u${sent}`, `guess ${sent}`, { address: addressOf(sent) }))
        }
      }, 10)
      const attacked = await fsyncs(2_000)
      clearInterval(attack)
      const { hashesComputed } = authenticator.stats
      await authenticator.close()
      const codes = (await Promise.all(answers)).map((answer) =>
        answer.ok ? 0 : answer.returnCode,
      )
      expect(sent).toBeGreaterThan(100)
      expect(codes.filter((code) => code === null).length).toBeGreaterThan(sent / 2)
      expect(codes).not.toContain(0)
      expect(hashesComputed).toBeGreaterThan(0)
      expect(hashesComputed).toBeLessThan(20)
      // Without the bound 100 hashes of 150 ms a second would keep every thread of the pool, and
      // each fsync would wait for seconds. What the ack latency may rise is the bench's to measure.
      const median = (values: number[]): number =>
        values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
      const [before, during] = [median(quiet), median(attacked)]
      console.log(
        `write and fsync: ${before.toFixed(1)} ms quiet, ${during.toFixed(1)} ms under attack`,
      )
      expect(during).toBeLessThan(Math.max(before * 2, 500))
    },
  )
})
