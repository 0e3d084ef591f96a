/** A real nginx on loopback that ends TLS before admin servers: one location for each. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { freePort } from '../../device-sim/free-ports.ts'
import { startProcess } from './process.ts'
import { sourcePath } from './source-path.ts'
import { findTool } from './tools.ts'

const START_MS = 20_000

/** What the documents tell to set. */
export const PASS_ON =
  'proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;'

interface Location {
  /** `/`, `/box-7/`. */
  readonly path: string
  /** Of `proxy_pass`. */
  readonly to: string
  readonly directives: string
}

/** Returns its port, once it answers at the first location. `folder`: for what it writes. */
export async function startNginx(folder: string, locations: readonly Location[]): Promise<number> {
  const port = await freePort()
  const own = mkdtempSync(join(folder, 'nginx-'))
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${own}/tmp/${name};`,
  )
  mkdirSync(join(own, 'tmp'))
  const path = join(own, 'nginx.conf')
  writeFileSync(
    path,
    `daemon off;
master_process off;
pid ${own}/pid;
events {}
http {
  access_log off;
${temporary.join('\n')}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${sourcePath('test/support/tls/server.pem')};
    ssl_certificate_key ${sourcePath('test/support/tls/server.key')};
${locations.map((each) => `    location ${each.path} { proxy_pass ${each.to}; ${each.directives} }`).join('\n')}
  }
}
`,
  )
  const log = join(own, 'error.log')
  const nginx = startProcess(findTool('nginx') ?? 'nginx', ['-c', path, '-e', log])
  const endMs = performance.now() + START_MS
  while (!(await answers(port, `${locations[0]?.path ?? '/'}livez`))) {
    if (nginx.exit !== null || performance.now() > endMs) throw new Error(nginx.stderr)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return port
}

function answers(port: number, path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({
      host: '127.0.0.1',
      port,
      path,
      rejectUnauthorized: false,
      agent: false,
    })
    asked.once('response', (answer) => {
      answer.resume()
      resolve(true)
    })
    asked.once('error', () => resolve(false))
    asked.end()
  })
}
