/**
 * The built console (`console/`): its page at `/`, and what that loads below `/assets/`, whose
 * names hold a hash of the content, so a browser keeps them. Read and compressed once, with the
 * first request for them; some 500 KB stay in memory then. There is nothing secret in them: anyone
 * may have them, and only what they ask of /api needs a login. Not here: what is in them (vite).
 */

import { readdir, readFile } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { errorCode } from '../shared/errors.ts'
import type { AdminAnswer } from './routes/route.ts'

/** Its own scripts and styles, its own API, and nothing else. */
export const CONSOLE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ')

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.woff2': 'font/woff2',
}

/** A year, as RFC 9111 has it for what never changes. */
const IMMUTABLE = 'public, max-age=31536000, immutable'

const MANIFEST = 'manifest.json'

const BUILT = fileURLToPath(new URL('console/', import.meta.url))

interface ConsoleFile {
  readonly contentType: string
  readonly bytes: Buffer
  /** Not brotli: browsers do not ask for it without TLS. */
  readonly gzipped: Buffer
}

export class ConsoleFiles {
  readonly #folder: string
  #files: Promise<ReadonlyMap<string, ConsoleFile>> | null = null

  /**
   * `folder`: with `index.html`, `assets/` and the `manifest.json` of the build. Without that
   * nothing was built there, and there are no files.
   */
  constructor(folder = BUILT) {
    this.#folder = folder
  }

  /** null: there is no such file. `name`: below the folder, with `/`. */
  async answer(name: string, headers: IncomingHttpHeaders): Promise<AdminAnswer | null> {
    this.#files ??= readAll(this.#folder)
    const file = (await this.#files).get(name)
    if (file === undefined) return null
    const isGzipped = acceptsGzip(headers['accept-encoding'])
    return {
      status: 200,
      contentType: file.contentType,
      body: isGzipped ? file.gzipped : file.bytes,
      headers: {
        'Cache-Control': name.startsWith('assets/') ? IMMUTABLE : 'no-cache',
        Vary: 'Accept-Encoding',
        ...(isGzipped ? { 'Content-Encoding': 'gzip' } : {}),
      },
      policy: CONSOLE_POLICY,
    }
  }
}

async function readAll(folder: string): Promise<ReadonlyMap<string, ConsoleFile>> {
  const here = await namesIn(folder)
  if (!here.includes(MANIFEST)) return new Map()
  const assets = await namesIn(join(folder, 'assets'))
  const names = ['index.html', ...assets.map((name) => `assets/${name}`)]
  const files = new Map<string, ConsoleFile>()
  for (const name of names) {
    const contentType = CONTENT_TYPES[extname(name)]
    // Source maps, for instance: not for a browser.
    if (contentType === undefined) continue
    const bytes = await readFile(join(folder, name))
    files.set(name, { contentType, bytes, gzipped: await promisify(gzip)(bytes, { level: 9 }) })
  }
  return files
}

async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true })
    return entries.filter((entry) => entry.isFile()).map(({ name }) => name)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return []
    throw error
  }
}

/** RFC 9110, section 12.5.3; what says nothing gets the plain bytes. */
function acceptsGzip(header: string | string[] | undefined): boolean {
  return /(^|,)\s*gzip\s*(;\s*q=(1|0\.[0-9]*[1-9]))?\s*(,|$)/i.test(String(header ?? ''))
}
