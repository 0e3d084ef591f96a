/**
 * Real stores as processes on ports of their own, with their data in a folder: s3rver, and nginx
 * with its DAV module. Stopped, killed and started again as a test likes; read back past HTTP.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { freePort } from '../../../device-sim/free-ports.ts'
import { type RunningProcess, startProcess } from '../../support/process.ts'
import { sourcePath } from '../../support/source-path.ts'
import { findTool } from '../../support/tools.ts'

const START_MS = 20_000
const POLL_MS = 10

export const BUCKET = 'archive'
/** Those that s3rver knows. */
export const S3RVER_KEYS = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' } as const
export const DAV_USER = { user: 'edge-01', password: 'a-password' } as const

export abstract class StoreServer {
  readonly port: number
  readonly folder: string
  #process: RunningProcess | null = null

  protected constructor(folder: string, port: number) {
    this.folder = folder
    this.port = port
  }

  protected abstract readonly command: readonly [string, ...string[]]
  /** Where the objects lie, by name. */
  protected abstract namesOf(paths: readonly string[]): ReadonlyMap<string, string>

  get origin(): string {
    return `http://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const [program, ...args] = this.command
    this.#process = startProcess(program, args)
    const endMs = performance.now() + START_MS
    while (!(await this.#answers())) {
      assert(this.#process.exit === null, `it does not start: ${this.#process.stderr}`)
      assert(performance.now() < endMs, `it does not answer: ${this.#process.stderr}`)
      await sleep(POLL_MS)
    }
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    assert(this.#process?.kill(signal) === true, 'the store ended by itself')
    await this.#process.waitForExit()
  }

  async close(): Promise<void> {
    await this.#process?.reap()
  }

  /** What files of that end hold, uncompressed, in the order of their names. */
  texts(end: RegExp): string[] {
    const paths = readdirSync(this.folder, { recursive: true, encoding: 'utf8' })
    const named = [...this.namesOf(paths)].filter(([name]) => end.test(name))
    return named
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, path]) => {
        const bytes = readFileSync(join(this.folder, path))
        return (bytes[0] === 0x1f ? gunzipSync(bytes) : bytes).toString()
      })
  }

  async #answers(): Promise<boolean> {
    return await fetch(this.origin).then(
      async (answer) => {
        await answer.body?.cancel()
        return true
      },
      () => false,
    )
  }
}

/**
 * Makes nothing of conditions, and judges no signature; knows its access keys, and its buckets.
 * Objects are whole, as those of S3: whole-objects.mjs.
 */
export class S3rver extends StoreServer {
  static async start(folder: string, buckets: readonly string[] = [BUCKET]): Promise<S3rver> {
    for (const bucket of buckets) mkdirSync(join(folder, bucket), { recursive: true })
    const server = new S3rver(folder, await freePort())
    await server.start()
    return server
  }

  protected get command(): readonly [string, ...string[]] {
    const entry = createRequire(import.meta.url).resolve('s3rver/package.json')
    const program = join(dirname(entry), 'bin/s3rver.js')
    const preload = sourcePath('test/sink/object/whole-objects.mjs')
    const place = ['--directory', this.folder, '--address', '127.0.0.1', '--port']
    return [
      process.execPath,
      `--import=${pathToFileURL(preload).href}`,
      program,
      ...place,
      String(this.port),
      '--silent',
    ]
  }

  protected namesOf(paths: readonly string[]): ReadonlyMap<string, string> {
    const end = '._S3rver_object'
    const objects = paths.filter((path) => path.endsWith(end))
    return new Map(
      objects.map((path) => [path.slice(path.lastIndexOf('/') + 1, -end.length), path]),
    )
  }
}

/** A folder of a web server. PUTs are whole or not there; conditions of a PUT are ignored. */
export class NginxDav extends StoreServer {
  static async start(folder: string): Promise<NginxDav> {
    for (const name of ['dav/edge', 'tmp']) mkdirSync(join(folder, name), { recursive: true })
    const server = new NginxDav(folder, await freePort())
    server.allow(DAV_USER.password)
    await server.start()
    return server
  }

  /** The password from now on. */
  allow(password: string): void {
    writeFileSync(join(this.folder, 'users'), `${DAV_USER.user}:{PLAIN}${password}\n`)
  }

  /** The folder that the sinks write below. */
  get root(): string {
    return join(this.folder, 'dav/edge')
  }

  get url(): string {
    return `${this.origin}/edge`
  }

  protected get command(): readonly [string, ...string[]] {
    const path = join(this.folder, 'nginx.conf')
    writeFileSync(path, this.#config)
    return [findTool('nginx') ?? 'nginx', '-c', path, '-e', join(this.folder, 'error.log')]
  }

  protected namesOf(paths: readonly string[]): ReadonlyMap<string, string> {
    const files = paths.filter((path) => /^dav\/.*\.(gz|ndjson|json)$/.test(path))
    return new Map(files.map((path) => [path.slice(path.lastIndexOf('/') + 1), path]))
  }

  get #config(): string {
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `  ${name}_temp_path ${this.folder}/tmp/${name};`,
    )
    return `daemon off;
master_process off;
pid ${this.folder}/pid;
events {}
http {
  access_log off;
${temporary.join('\n')}
  server {
    listen 127.0.0.1:${this.port};
    root ${this.folder}/dav;
    auth_basic "edge";
    auth_basic_user_file ${this.folder}/users;
    dav_methods PUT DELETE MKCOL MOVE;
    client_max_body_size 1m;
  }
}
`
  }
}
