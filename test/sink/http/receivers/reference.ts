/**
 * What reference receivers have in common: HTTP on a loopback port, and a journal from which one
 * that was killed comes back with all that it answered for. A power cut is not among what happens
 * to them.
 */
import { appendFileSync, existsSync, readFileSync, truncateSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'

export interface Asked {
  readonly method: string
  readonly url: URL
  readonly headers: IncomingHttpHeaders
  /** Inflated. */
  readonly body: string
}

export interface Said {
  readonly status: number
  readonly body: unknown
}

/** Says on stdout when it listens. `answer` runs to its end before the next is asked. */
export function serve(port: number, answer: (asked: Asked) => Said): void {
  const server = createServer((request, response) => {
    read(request).then(
      (asked) => {
        const { status, body } = answer(asked)
        response.writeHead(status, { 'content-type': 'application/json' })
        response.end(JSON.stringify(body))
      },
      // The connection ended before all of the body was there, which nobody has seen then.
      () => request.destroy(),
    )
  })
  server.listen(port, '127.0.0.1', () => process.stdout.write(`listening on ${port}\n`))
  process.on('SIGTERM', () => {
    server.close()
    server.closeAllConnections()
  })
}

async function read(request: IncomingMessage): Promise<Asked> {
  const { method = '', url = '/', headers } = request
  const bytes = await buffer(request)
  const body = headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes
  return { method, url: new URL(url, 'http://reference'), headers, body: body.toString() }
}

/** JSON lines, of which the last may have been cut by a kill. */
export class Journal<Entry> {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /** In their order; what was cut is removed. */
  read(): Entry[] {
    if (!existsSync(this.#path)) return []
    const bytes = readFileSync(this.#path)
    const end = bytes.lastIndexOf('\n') + 1
    truncateSync(this.#path, end)
    const lines = bytes.subarray(0, end).toString().split('\n').slice(0, -1)
    return lines.map((line) => JSON.parse(line) as Entry)
  }

  append(entries: readonly Entry[]): void {
    appendFileSync(this.#path, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
  }
}
