/**
 * Logins that are remembered over a restart: what they save, what they give away, and when they are
 * forgotten.
 */
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import mqtt from 'mqtt'
import { afterEach, describe, expect, test } from 'vitest'
import { Authenticator } from '../../../gateway/broker/auth/authenticator.ts'
import { RememberedLogins } from '../../../gateway/broker/auth/remembered-logins.ts'
import {
  type PasswordHash,
  parsePasswordFile,
  verifyPassword,
} from '../../../gateway/shared/passwords/password-file.ts'
import { startRig, stopRigs } from '../harness.ts'
import {
  FAST_POLL_MS,
  LOOPBACK,
  mqttConfig,
  replaceFile,
  temporaryFolder,
} from '../listeners/listener-fixture.ts'
import { quickHash } from './quick-hash.ts'

afterEach(stopRigs)

function linesOf(text: string): [string, PasswordHash][] {
  return [...parsePasswordFile(text, 'users')]
}

describe('the file', () => {
  test('holds neither names nor passwords, is for its owner only, and is good for its line alone', async () => {
    const path = join(await temporaryFolder(), 'logins')
    const [seven, eight, renewed] = ['press-7', 'press-8', 'press-7'].map(
      (user) => linesOf(`${user}:${quickHash('a secret')}`)[0]!,
    )
    const logins = await RememberedLogins.open(path)
    const password = Buffer.from('a secret')
    await Promise.all([logins.remember(...seven!, password), logins.remember(...eight!, password)])
    await logins.close()
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const text = await readFile(path, 'utf8')
    expect(text).not.toMatch(/press|secret/)
    const [first, second] = text.trim().split('\n')
    // The same password twice shows nowhere.
    expect(new Set([...first!.split(/[ $]/), ...second!.split(/[ $]/)]).size).toBe(8)

    const again = await RememberedLogins.open(path)
    const found = again.find(...seven!, password)!
    expect(await verifyPassword(found.password, found.stored)).toBe(true)
    const other = again.find(...seven!, Buffer.from('another'))!
    expect(await verifyPassword(other.password, other.stored)).toBe(false)
    // The same password, set again: another line.
    expect(again.has(...renewed!)).toBe(false)
    const changed = again.find(...renewed!, password)!
    expect(await verifyPassword(changed.password, changed.stored)).toBe(false)
    // Against what is stored, guessing costs what scrypt costs, not a digest.
    expect([found.stored.N, found.stored.r, found.stored.p]).toEqual([1_024, 8, 5])
  })

  test('forgets what no password file has any more, and whatever cannot be read', async () => {
    const path = join(await temporaryFolder(), 'logins')
    const lines = linesOf(`a:${quickHash('1')}\nb:${quickHash('2')}`)
    const logins = await RememberedLogins.open(path)
    for (const [user, line] of lines) await logins.remember(user, line, Buffer.from('x'))
    logins.keepOnly([lines[1]!])
    await logins.close()
    const kept = await RememberedLogins.open(path)
    expect([kept.count, kept.has(...lines[0]!), kept.has(...lines[1]!)]).toEqual([1, false, true])
    await writeFile(path, `\0nonsense\n${'x'.repeat(1_000)} y z\n`)
    expect((await RememberedLogins.open(path)).count).toBe(0)
    expect((await RememberedLogins.open(join(path, 'nowhere'))).count).toBe(0)
  })

  test('that cannot be written costs nobody anything', async () => {
    const logins = await RememberedLogins.open('/nowhere/logins')
    const [line] = linesOf(`a:${quickHash('1')}`)
    await logins.remember(...line!, Buffer.from('1'))
    await logins.close()
    expect(logins.has(...line!)).toBe(true)
  })
})

const SLOW_N = 2_048

/** Lines whose hash takes as long as the test says; a remembered login is computed as it is. */
async function slowly(password: Uint8Array, stored: PasswordHash): Promise<boolean> {
  if (stored.N === SLOW_N) await sleep(10)
  return verifyPassword(password, stored)
}

async function open(passwordFile: string, loginsFile: string): Promise<Authenticator> {
  return Authenticator.open(mqttConfig({ auth: { passwordFile, aclFile: null } }), undefined, {
    filePollMs: FAST_POLL_MS,
    loginsFile,
    checks: { verify: slowly },
  })
}

function slowLine(user: string): string {
  return `${user}:${quickHash(`secret of ${user}`, SLOW_N)}`
}

test('60 users of mqtt.js that come at once all get in, and after a restart without one slow hash', async () => {
  const folder = await temporaryFolder()
  const [passwordFile, loginsFile] = [join(folder, 'users'), join(folder, 'logins')]
  const users = Array.from({ length: 60 }, (_, i) => `press-${i}`)
  await writeFile(passwordFile, users.map(slowLine).join('\n'))
  for (const round of [1, 2]) {
    const authenticator = await open(passwordFile, loginsFile)
    // Too short for all of them: the others come again.
    const rig = await startRig({ authTimeout: 300 }, undefined, {
      authenticate: async (request) => authenticator.authenticate(request),
    })
    const errors: string[] = []
    const clients = users.map((username) =>
      mqtt.connect(`mqtt://127.0.0.1:${rig.port}`, {
        clientId: username,
        username,
        password: `secret of ${username}`,
        reconnectPeriod: 200,
      }),
    )
    try {
      await Promise.all(
        clients.map(async (client) => {
          client.on('error', ({ message }) => errors.push(message))
          await new Promise((resolve) => client.once('connect', resolve))
        }),
      )
      const { 'auth-timeout': late } = rig.broker.stats.connectionsRefused
      if (round === 1) expect(late).toBeGreaterThan(0)
      expect(errors.filter((text) => /unavailable|refused/i.test(text))).toEqual([])
      expect(authenticator.stats.hashesComputed).toBe(round === 1 ? 60 : 0)
    } finally {
      for (const client of clients) client.end(true)
      await rig.stop()
      await authenticator.close()
    }
  }
}, 40_000)

test('a changed line is judged by its slow hash; a wrong password is wrong though another is remembered', async () => {
  const folder = await temporaryFolder()
  const [passwordFile, loginsFile] = [join(folder, 'users'), join(folder, 'logins')]
  await writeFile(passwordFile, `u:${quickHash('old', SLOW_N)}\n`)
  const request = (password: string, remoteAddress: string) => ({
    listener: LOOPBACK,
    clientId: 'c',
    username: 'u',
    password: Buffer.from(password),
    remoteAddress,
    certificateSubject: null,
  })
  const first = await open(passwordFile, loginsFile)
  expect(await first.authenticate(request('old', '10.0.0.1'))).toMatchObject({ ok: true })
  await first.close()
  const second = await open(passwordFile, loginsFile)
  expect(await second.authenticate(request('wrong', '10.0.0.2'))).toMatchObject({ returnCode: 4 })
  expect(await second.authenticate(request('old', '10.0.0.3'))).toMatchObject({ ok: true })
  expect(second.stats.hashesComputed).toBe(1)
  await second.close()
  await replaceFile(passwordFile, `u:${quickHash('new', SLOW_N)}\n`)
  const third = await open(passwordFile, loginsFile)
  expect(await third.authenticate(request('old', '10.0.0.4'))).toMatchObject({ returnCode: 4 })
  expect(await third.authenticate(request('new', '10.0.0.5'))).toMatchObject({ ok: true })
  expect(third.stats.hashesComputed).toBe(2)
  await third.close()
})

test('who has gone is not computed, unless somebody else waits for the same answer', async () => {
  const folder = await temporaryFolder()
  const passwordFile = join(folder, 'users')
  await writeFile(passwordFile, ['a', 'b', 'c'].map(slowLine).join('\n'))
  const authenticator = await open(passwordFile, join(folder, 'logins'))
  const login = async (username: string, isWanted: () => boolean) =>
    authenticator.authenticate({
      listener: LOOPBACK,
      clientId: 'c',
      username,
      password: Buffer.from(`secret of ${username}`),
      remoteAddress: '10.0.0.1',
      certificateSubject: null,
      isWanted,
    })
  const answers = await Promise.all([
    login('a', () => true),
    login('b', () => false),
    login('c', () => false),
    login('c', () => true),
  ])
  expect(answers.map(({ ok }) => ok)).toEqual([true, false, true, true])
  expect(authenticator.stats).toMatchObject({ hashesComputed: 2, refusedBusy: 0 })
  await authenticator.close()
})
