/**
 * The admin server on loopback behind a real nginx on the same machine, which ends TLS: people log
 * in and follow the stream of events under the name of the proxy, and loopback's trust ends there.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { AdminConfig } from '../../gateway/admin/config.ts'
import { quickHash } from '../broker/auth/quick-hash.ts'
import { PASS_ON, startNginx } from '../support/nginx.ts'
import { reapProcesses } from '../support/process.ts'
import { describeWithTool } from '../support/tool-tests.ts'
import { type AdminFixture, startAdmin } from './admin-fixture.ts'

const NAME = 'box.example'

let folder: string
let admin: AdminFixture
let port: number

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-proxied-'))
})
afterEach(async () => {
  await reapProcesses()
  await admin.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** `directives`: of the location. */
async function start(config: Partial<AdminConfig>, directives: string): Promise<void> {
  admin = await startAdmin(config)
  port = await startNginx(folder, [{ path: '/', to: admin.server.url, directives }])
}

/** As a browser at `https://box.example:<port>` does. */
function ask(
  path: string,
  body: unknown = null,
  headers: Record<string, string> = {},
): Promise<IncomingMessage> {
  const site = `${NAME}:${port}`
  const asked = request({
    host: '127.0.0.1',
    port,
    path,
    method: body === null ? 'GET' : 'POST',
    // The certificate is for another name; who the proxy is, is not what is tested.
    rejectUnauthorized: false,
    agent: false,
    headers: {
      Host: site,
      'Sec-Fetch-Site': 'same-origin',
      ...(body === null ? {} : { Origin: `https://${site}`, 'Content-Type': 'application/json' }),
      ...headers,
    },
  })
  asked.end(body === null ? undefined : JSON.stringify(body))
  return new Promise((resolve, reject) => {
    asked.once('response', resolve)
    asked.once('error', reject)
  })
}

async function refusalOf(answer: IncomingMessage): Promise<{ code: string; message: string }> {
  return ((await json(answer)) as { error: { code: string; message: string } }).error
}

const OTTO = { user: 'otto', password: 'otto-pw' }

async function users(): Promise<string> {
  const path = join(await mkdtemp(join(folder, 'users-')), 'users')
  writeFileSync(path, `otto:${quickHash('otto-pw')}:operator\n`)
  return path
}

describeWithTool('nginx', 'behind a proxy', () => {
  test('people log in, act and follow events under its name', async () => {
    await start({ usersFile: await users() }, PASS_ON)
    expect((await ask('/')).statusCode).toBe(200)
    const login = await ask('/api/login', OTTO)
    expect(login.statusCode).toBe(200)
    const cookie = login.headers['set-cookie']?.[0]?.split(';')[0] ?? ''
    expect(cookie).toMatch(/^__Host-sluice=/)
    expect((await ask('/api/spool/new-id', {}, { Cookie: cookie })).statusCode).toBe(200)
    const events = await ask('/api/events', null, { Cookie: cookie })
    let text = ''
    for await (const chunk of events) {
      text += String(chunk)
      if (text.includes('event: snapshot')) break
    }
    expect(text).toContain('event: snapshot')
  })

  test('two gateways below prefixes of one host: each has its own cookie and takes it back', async () => {
    const other = await startAdmin({ usersFile: await users() })
    admin = await startAdmin({ usersFile: await users() })
    const to = (path: string, { server }: AdminFixture) => ({
      path,
      to: `${server.url}/`,
      directives: PASS_ON,
    })
    try {
      port = await startNginx(folder, [to('/box-7/', admin), to('/box-8/', other)])
      const cookies: string[] = []
      for (const path of ['/box-7/', '/box-8/']) {
        const login = await ask(`${path}api/login`, { ...OTTO, path })
        const set = login.headers['set-cookie']?.[0] ?? ''
        expect(set).toMatch(new RegExp(`^__Secure-sluice=[^;]+; Path=${path}; .*; Secure$`))
        cookies.push(set.split(';')[0] ?? '')
      }
      const [seven = '', eight = ''] = cookies
      const status = async (path: string, Cookie: string): Promise<number | undefined> =>
        (await ask(`${path}api/status`, null, { Cookie })).statusCode
      expect(await status('/box-7/', seven)).toBe(200)
      expect(await status('/box-8/', seven)).toBe(401)
      expect(await status('/box-8/', `__Host-sluice=of-another; ${seven}; ${eight}`)).toBe(200)
      const out = await ask('/box-8/api/logout', { path: '/box-8/' }, { Cookie: eight })
      expect(out.headers['set-cookie']).toContainEqual(
        expect.stringMatching(/^__Secure-sluice=; Path=\/box-8\/; Max-Age=0;/),
      )
      expect(await status('/box-8/', eight)).toBe(401)
      const crooked = await ask('/box-7/api/login', { ...OTTO, path: '/; Domain=example' })
      expect(crooked.statusCode).toBe(400)
    } finally {
      await other.stop()
    }
  })

  test('one that changes the Host is told what to pass on', async () => {
    await start({ usersFile: await users() }, '')
    const { code, message } = await refusalOf(await ask('/api/login', OTTO))
    expect(code).toBe('ADMIN_CROSS_SITE')
    expect(message).toContain(`"https://${NAME}:${port}"`)
    expect(message).toContain('proxy_set_header Host $http_host')
  })

  test('nobody is an operator without a login: not under its name, nor forwarded', async () => {
    await start({}, 'proxy_set_header Host $http_host;')
    const named = await refusalOf(await ask('/api/status'))
    expect(named.code).toBe('ADMIN_BAD_HOST')
    expect(named.message).toContain('admin.usersFile')
    await reapProcesses()
    await admin.stop()
    await start({}, 'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;')
    expect((await ask('/metrics')).statusCode).toBe(200)
    const forwarded = await refusalOf(await ask('/api/status'))
    expect(forwarded.code).toBe('ADMIN_TOKEN_REQUIRED')
    expect(forwarded.message).toContain('x-forwarded-for')
  })
})
