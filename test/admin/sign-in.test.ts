/** Logging in over real sockets: users, roles, sessions, and what guessing meets. */
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { AdminConfig } from '../../gateway/admin/config.ts'
import {
  ABSOLUTE_END_MS,
  IDLE_END_MS,
  MAX_SESSIONS,
  Sessions,
} from '../../gateway/admin/sign-in/sessions.ts'
import { SignIn } from '../../gateway/admin/sign-in/sign-in.ts'
import { removeUser, setPassword } from '../../gateway/shared/passwords/password-file.ts'
import { quickHash } from '../broker/auth/quick-hash.ts'
import { type AdminFixture, startAdmin } from './admin-fixture.ts'

let folder: string
let usersFile: string
let admin: AdminFixture

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-users-'))
  usersFile = join(folder, 'users')
  const line = (name: string, role: string) => `${name}:${quickHash(`${name}-pw`)}:${role}\n`
  await writeFile(usersFile, line('vera', 'viewer') + line('otto', 'operator'))
})
afterEach(async () => {
  await admin.stop()
  await rm(folder, { recursive: true, force: true })
})

async function start(more: Partial<AdminConfig> = {}): Promise<void> {
  admin = await startAdmin({ usersFile, ...more })
}

async function logIn(user: string, password = `${user}-pw`) {
  const answer = await admin.post('/api/login', { user, password })
  const [set = ''] = answer.headers.getSetCookie()
  return { answer, set, cookie: set.split(';')[0] ?? '' }
}

test('without a session nothing of /api is served, and the answer says how to log in', async () => {
  await start({ token: { value: 't0ken' } })
  for (const path of ['/api/session', '/api/status', '/api/events', '/api/nothing']) {
    const answer = await admin.get(path)
    expect(answer.status).toBe(401)
    expect(answer.error).toMatchObject({
      code: 'ADMIN_LOGIN_REQUIRED',
      login: ['password', 'token'],
    })
  }
  for (const path of ['/', '/metrics', '/livez', '/readyz'])
    expect((await admin.get(path)).status).toBe(200)
})

test('a login begins a session in a cookie that no script and no other site gets', async () => {
  await start()
  const { answer, set, cookie } = await logIn('vera')
  expect(answer.body).toEqual({ user: 'vera', role: 'viewer', via: 'login' })
  expect(set).toMatch(/^sluice=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/)
  const session = await admin.get('/api/session', { cookie })
  expect(session.body).toEqual({ user: 'vera', role: 'viewer', via: 'login' })
  expect(admin.log()).toContain('vera logged in as viewer')
  expect(admin.log()).not.toContain('vera-pw')
})

test('behind a proxy that ended TLS the cookie is Secure and of the host', async () => {
  await start()
  const answer = await admin.post(
    '/api/login',
    { user: 'vera', password: 'vera-pw' },
    { 'x-forwarded-proto': 'https' },
  )
  expect(answer.headers.getSetCookie()).toEqual([
    expect.stringMatching(/^__Host-sluice=.*; Path=\/; .*; Secure$/),
  ])
  const cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  expect((await admin.get('/api/status', { cookie })).status).toBe(200)
})

test('a viewer looks at everything and changes nothing; an operator does', async () => {
  await start()
  const viewer = await logIn('vera')
  const operator = await logIn('otto')
  const look = { cookie: viewer.cookie }
  expect((await admin.get('/api/status', look)).status).toBe(200)
  expect((await admin.get('/api/dead-letters?stream=telemetry', look)).status).toBe(200)
  const refused = [
    await admin.post('/api/spool/new-id', {}, look),
    await admin.post('/api/sinks/cloud/retry', {}, look),
    await admin.post('/api/dead-letters/purge', { stream: 'telemetry', all: true }, look),
    await admin.get('/api/spool/backup', look),
  ]
  expect(refused.map(({ status, error }) => [status, error.code])).toEqual(
    refused.map(() => [403, 'ADMIN_ROLE']),
  )
  expect(admin.calls.filter(({ what }) => what !== 'list')).toEqual([])
  const done = await admin.post('/api/spool/new-id', {}, { cookie: operator.cookie })
  expect(done.status).toBe(200)
  expect(admin.log()).toMatch(/operator: \/api\/spool\/new-id.*/)
  expect(admin.log()).toContain('"user":"otto"')
})

test('a logout ends the session at once and takes the cookie back', async () => {
  await start()
  const { cookie } = await logIn('otto')
  const out = await admin.post('/api/logout', {}, { cookie })
  expect(out.headers.getSetCookie()).toEqual([
    expect.stringMatching(/^__Host-sluice=; .*Max-Age=0.*; Secure$/),
    expect.stringMatching(/^sluice=; .*Max-Age=0/),
  ])
  expect((await admin.get('/api/session', { cookie })).status).toBe(401)
})

test('a login is refused from another site, as a form, and with half of it', async () => {
  await start()
  const body = { user: 'vera', password: 'vera-pw' }
  for (const headers of [{ origin: 'http://evil.example' }, { 'sec-fetch-site': 'same-site' }])
    expect((await admin.post('/api/login', body, headers)).error.code).toBe('ADMIN_CROSS_SITE')
  const form = await admin.post('/api/login', body, { 'content-type': 'text/plain' })
  expect(form.error.code).toBe('ADMIN_CONTENT_TYPE')
  for (const half of [{ user: 'vera' }, { ...body, more: 1 }, { user: '', password: 'x' }, null])
    expect((await admin.post('/api/login', half)).status).toBe(400)
})

test('a session carries no request of another site', async () => {
  await start()
  const { cookie } = await logIn('otto')
  const other = { cookie, origin: 'http://evil.example' }
  expect((await admin.post('/api/spool/new-id', {}, other)).error.code).toBe('ADMIN_CROSS_SITE')
  expect((await admin.get('/api/status', other)).error.code).toBe('ADMIN_CROSS_SITE')
})

test('unknown users and wrong passwords are answered alike', async () => {
  await start()
  const wrong = await logIn('vera', 'guess')
  const unknown = await logIn('nobody', 'guess')
  expect([wrong.answer.status, wrong.answer.error]).toEqual([
    unknown.answer.status,
    unknown.answer.error,
  ])
  expect(wrong.answer.error.code).toBe('ADMIN_UNAUTHORIZED')
  expect(wrong.set).toBe('')
  expect((await logIn('otto')).answer.status).toBe(200)
})

test('guessing is damped, by name and by token: the right word does not help before its time', async () => {
  await start()
  let nowMs = 0
  const keys = { host: '127.0.0.1', token: { value: 't0ken' }, usersFile }
  const signIn = await SignIn.open(
    keys,
    () => undefined,
    () => nowMs,
  )
  const asker = { headers: {}, remote: '10.0.0.7' }
  const by = (credentials: Parameters<SignIn['logIn']>[0]) =>
    signIn.logIn(credentials, asker).then(
      ({ caller }) => caller.via,
      ({ code }: { code: string }) => code,
    )
  const right = { user: 'vera', password: 'vera-pw' }
  for (const [wrong, good] of [
    [{ ...right, password: 'guess' }, right],
    [{ token: 'guess' }, { token: 't0ken' }],
  ] as const) {
    expect(await by(wrong)).toBe('ADMIN_UNAUTHORIZED')
    expect(await by(good)).toBe('ADMIN_TRY_LATER')
    nowMs += 1_000
    expect(await by(good)).toMatch(/login|token/)
  }
  signIn.close()
})

test('the token logs a browser in, and ends its sessions when it changes', async () => {
  const file = join(folder, 'token')
  await writeFile(file, 'first')
  await start({ token: { file }, usersFile: null })
  const answer = await admin.post('/api/login', { token: 'first' })
  expect(answer.body).toEqual({ user: null, role: 'operator', via: 'token' })
  const cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? ''
  expect((await admin.post('/api/spool/new-id', {}, { cookie })).status).toBe(200)
  expect((await admin.post('/api/login', { token: 'no' })).status).toBe(401)
  expect((await admin.post('/api/login', { user: 'a', password: 'b' })).error.message).toContain(
    'set admin.usersFile, or log in by token',
  )
  await writeFile(file, 'second')
  expect((await admin.get('/api/session', { cookie })).status).toBe(401)
})

test('a changed password or role and a removed user end their sessions, and only theirs', async () => {
  await start()
  const vera = await logIn('vera')
  const otto = await logIn('otto')
  const statusOf = async ({ cookie }: { readonly cookie: string }) =>
    (await admin.get('/api/session', { cookie })).status
  await setPassword(usersFile, 'vera', 'another')
  await admin.server.reread()
  expect([await statusOf(vera), await statusOf(otto)]).toEqual([401, 200])
  const again = await logIn('vera', 'another')
  expect(again.answer.body).toMatchObject({ role: 'viewer' })
  await setPassword(usersFile, 'vera', 'another', 'operator')
  await admin.server.reread()
  expect(await statusOf(again)).toBe(401)
  await removeUser(usersFile, 'otto')
  // Without being asked to: it looks by itself.
  await vi.waitFor(async () => expect(await statusOf(otto)).toBe(401), 10_000)
})

test('a login that is computed while the file is read again is judged by its own line', async () => {
  await start()
  // At the full cost of a hash, so that there is time.
  await setPassword(usersFile, 'vera', 'vera-pw')
  const signIn = await SignIn.open({ host: '127.0.0.1', token: null, usersFile }, () => undefined)
  const login = signIn.logIn(
    { user: 'vera', password: 'vera-pw' },
    { headers: {}, remote: '10.0.0.7' },
  )
  // Somebody else was added meanwhile.
  await appendFile(usersFile, `nina:${quickHash('x')}:viewer\n`)
  await signIn.reread()
  expect((await login).caller.user).toBe('vera')
  signIn.close()
})

test('a users file that cannot be used lets nobody in by name, until it can', async () => {
  const right = `vera:${quickHash('vera-pw')}:viewer\n`
  await writeFile(usersFile, right.replace(':viewer', ''))
  await start()
  const refused = await logIn('vera')
  expect([refused.answer.status, refused.answer.error.code]).toEqual([
    503,
    'ADMIN_USERS_UNREADABLE',
  ])
  expect(admin.log()).toMatch(/users:1: user \\"vera\\": no role; set it with/)
  await writeFile(usersFile, right)
  await admin.server.reread()
  const { cookie, answer } = await logIn('vera')
  expect(answer.status).toBe(200)
  await writeFile(usersFile, 'nonsense')
  await admin.server.reread()
  expect((await admin.get('/api/session', { cookie })).status).toBe(200)
})

test('sessions end unused, end after all, and are bounded', () => {
  let nowMs = 0
  const sessions = new Sessions(() => nowMs)
  const caller = { user: 'vera', role: 'viewer', via: 'login' } as const
  const unused = sessions.begin(caller, '')
  const used = sessions.begin(caller, '')
  for (; nowMs < IDLE_END_MS; nowMs += IDLE_END_MS / 4) expect(sessions.use(used)).not.toBeNull()
  expect(sessions.use(unused)).toBeNull()
  for (; nowMs < ABSOLUTE_END_MS; nowMs += IDLE_END_MS / 4)
    expect(sessions.use(used)).not.toBeNull()
  expect(sessions.use(used)).toBeNull()
  const ids = Array.from({ length: MAX_SESSIONS + 1 }, () => sessions.begin(caller, ''))
  expect(ids.map((id) => sessions.use(id) !== null)).toEqual(ids.map((_, i) => i > 0))
})
