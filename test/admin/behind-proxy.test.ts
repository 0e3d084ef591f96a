/**
 * The admin server on loopback behind a real nginx on the same machine, which ends TLS: people log
 * in and follow the stream of events under the name of the proxy, and loopback's trust ends there.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { freePort } from '../../device-sim/free-ports.ts'
import type { AdminConfig } from '../../gateway/admin/config.ts'
import { quickHash } from '../broker/auth/quick-hash.ts'
import { reapProcesses, startProcess } from '../support/process.ts'
import { sourcePath } from '../support/source-path.ts'
import { describeWithTool } from '../support/tool-tests.ts'
import { findTool } from '../support/tools.ts'
import { type AdminFixture, startAdmin } from './admin-fixture.ts'

const NAME = 'box.example'
const START_MS = 20_000

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
  port = await freePort()
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${folder}/tmp/${name};`,
  )
  mkdirSync(join(folder, 'tmp'))
  const path = join(folder, 'nginx.conf')
  writeFileSync(
    path,
    `daemon off;
master_process off;
pid ${folder}/pid;
events {}
http {
  access_log off;
${temporary.join('\n')}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${sourcePath('test/support/tls/server.pem')};
    ssl_certificate_key ${sourcePath('test/support/tls/server.key')};
    location / {
      proxy_pass ${admin.server.url};
      ${directives}
    }
  }
}
`,
  )
  const nginx = startProcess(findTool('nginx') ?? 'nginx', [
    '-c',
    path,
    '-e',
    join(folder, 'error.log'),
  ])
  const endMs = performance.now() + START_MS
  for (;;) {
    const isUp = await ask('/livez').then(
      (answer) => answer.resume() !== null,
      () => false,
    )
    if (isUp) return
    if (nginx.exit !== null || performance.now() > endMs) throw new Error(nginx.stderr)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
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
    await start(
      { usersFile: await users() },
      'proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;',
    )
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
    rmSync(join(folder, 'tmp'), { recursive: true })
    await start({}, 'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;')
    expect((await ask('/metrics')).statusCode).toBe(200)
    const forwarded = await refusalOf(await ask('/api/status'))
    expect(forwarded.code).toBe('ADMIN_TOKEN_REQUIRED')
    expect(forwarded.message).toContain('x-forwarded-for')
  })
})
