/**
 * A sink that does what a test says, over real HTTP: a ledger of every request (headers, raw and
 * decoded body) and a script that decides each answer: status, headers, body, delay, cut before or
 * after storing, half-open, slow trickle. Knows the wire, not the contract: it judges nothing.
 * Owner of no guarantee; the tests that use it are.
 */

import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type ServerOptions as TlsOptions } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import { gunzipSync } from 'node:zlib'
import { freePort } from '../../device-sim/free-ports.ts'

/** As Node has it: `tls.Server.setTicketKeys`. */
const TICKET_KEYS_BYTES = 48

/** One request as it came. */
export interface ScriptedRequest {
  /** From 0. */
  readonly index: number
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  /** Names and values as on the wire. */
  readonly rawHeaders: readonly string[]
  /** As received; its beginning, if it was cut or answered early. */
  readonly rawBody: Buffer
  /** Decoded by Content-Encoding; null if that failed or the body is not whole. */
  readonly body: Buffer | null
  /** Lines of the decoded body, without LF. */
  readonly lines: readonly string[]
  /** From 0: requests of one connection share it. */
  readonly connection: number
  /**
   * Does this try count as stored? Decided by the step: not with `drop: 'before'`, not with a
   * status from 300.
   */
  readonly stored: boolean
}

/** What happens to one request. Everything is optional; `{}` answers 200 with an empty body. */
export interface Step {
  /** @default 200 */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  /** Leave out the Date header that every answer has otherwise. */
  readonly noDate?: true
  /** An object is sent as JSON with its Content-Type. */
  readonly body?: string | Uint8Array | Readonly<Record<string, unknown>>
  /** Wait before answering (or dropping), ms. */
  readonly delayMs?: number
  /** Cut the connection instead of answering: before the request counts as stored, or after. */
  readonly drop?: 'before' | 'after'
  /** Never answer, never close: what a dead link looks like. Counts as stored. */
  readonly halfOpen?: true
  /** Answer before the request's body has come, and close. */
  readonly early?: true
  /** Send the answer's body in pieces of `bytes` every `everyMs`; `endless` repeats it for ever. */
  readonly trickle?: { readonly bytes: number; readonly everyMs: number; readonly endless?: true }
  /** Write these bytes to the socket instead of an HTTP answer, and close. */
  readonly rawBytes?: string
  /** Send this many bytes of the body, under a Content-Length that promises all, and cut. */
  readonly cutBodyAt?: number
  /** Close the connection after the answer, without saying so beforehand. */
  readonly closeAfter?: true
}

/** One step per request; behind the end of a list its last step repeats. */
export type Script = readonly Step[] | ((request: ScriptedRequest) => Step | Promise<Step>)

export interface ScriptedSinkOptions {
  readonly script?: Script
  /** Serve TLS with these. */
  readonly tls?: TlsOptions
  /** @default 0: any free port */
  readonly port?: number
}

export class ScriptedSink {
  /** Every request whose body came or was answered early, in order of arrival. */
  readonly requests: ScriptedRequest[] = []
  /** Change it at any time. */
  script: Script
  readonly #server: Server
  readonly #scheme: string
  readonly #connections = new Map<Socket, number>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #waiters: Array<{ readonly count: number; readonly resolve: () => void }> = []
  #opened = 0

  private constructor(options: ScriptedSinkOptions) {
    this.script = options.script ?? [{}]
    this.#scheme = options.tls === undefined ? 'http' : 'https'
    const handle = (request: IncomingMessage, response: ServerResponse): void => {
      // A test that throws in its script must fail, not hang.
      this.#handle(request, response).catch((error: unknown) => {
        response.statusCode = 500
        response.end(`the script failed: ${String(error)}`)
      })
    }
    this.#server =
      options.tls === undefined ? createServer(handle) : createTlsServer(options.tls, handle)
    this.#server.keepAliveTimeout = 60_000
    this.#server.on(
      options.tls === undefined ? 'connection' : 'secureConnection',
      (socket: Socket) => {
        this.#connections.set(socket, this.#opened)
        this.#opened += 1
        socket.once('close', () => this.#connections.delete(socket))
        socket.on('error', () => undefined)
      },
    )
  }

  static async start(options: ScriptedSinkOptions = {}): Promise<ScriptedSink> {
    const sink = new ScriptedSink(options)
    const port = options.port ?? (await freePort())
    await new Promise<void>((resolve, reject) => {
      sink.#server.once('error', reject)
      sink.#server.listen(port, '127.0.0.1', resolve)
    })
    return sink
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Where to POST. */
  get url(): string {
    return `${this.#scheme}://127.0.0.1:${this.port}/ingest`
  }

  /** Those that count as stored, in order: what the far side would have in its database. */
  get stored(): readonly ScriptedRequest[] {
    return this.requests.filter((one) => one.stored)
  }

  /** Connections since the start. */
  get connectionsOpened(): number {
    return this.#opened
  }

  /** Resolves when that many requests have come, all in all. */
  async waitForRequests(count: number): Promise<void> {
    if (this.requests.length >= count) return
    await new Promise<void>((resolve) => {
      this.#waiters.push({ count, resolve })
    })
  }

  /**
   * Cuts every connection that is open now; the next one is taken. Over TLS it begins with a full
   * handshake: a resumed session would pass over the certificate (RFC 8446, section 2.2).
   */
  cutConnections(): void {
    if (this.#server instanceof TlsServer)
      this.#server.setTicketKeys(randomBytes(TICKET_KEYS_BYTES))
    for (const socket of this.#connections.keys()) socket.destroy()
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
    this.#server.closeAllConnections()
    this.cutConnections()
    await closed
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const index = this.requests.length
    const early = Array.isArray(this.script) && stepAt(this.script, index).early === true
    const chunks: Buffer[] = []
    try {
      if (!early) for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    } catch {
      // Cut by the client: what came is in the ledger.
    }
    const record = this.#record(request, Buffer.concat(chunks))
    const step =
      typeof this.script === 'function'
        ? await this.script(record)
        : stepAt(this.script, record.index)
    this.requests[record.index] = { ...record, stored: countsAsStored(step) }
    for (const waiter of this.#waiters) if (waiter.count <= this.requests.length) waiter.resolve()
    if (step.delayMs !== undefined) await this.#wait(step.delayMs)
    await this.#answer(request.socket, response, step)
  }

  #record(request: IncomingMessage, rawBody: Buffer): ScriptedRequest {
    const body = decode(request, rawBody)
    const record: ScriptedRequest = {
      index: this.requests.length,
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      rawHeaders: request.rawHeaders,
      rawBody,
      body,
      lines: body === null ? [] : body.toString().split('\n').slice(0, -1),
      connection: this.#connections.get(request.socket) ?? -1,
      stored: false,
    }
    this.requests.push(record)
    return record
  }

  async #answer(socket: Socket, response: ServerResponse, step: Step): Promise<void> {
    if (step.halfOpen === true) return
    if (step.drop !== undefined) {
      socket.destroy()
      return
    }
    if (step.rawBytes !== undefined) {
      socket.end(step.rawBytes)
      return
    }
    const { bytes, type } = encode(step.body)
    response.statusCode = step.status ?? 200
    response.sendDate = step.noDate !== true
    if (type !== null) response.setHeader('content-type', type)
    for (const [name, value] of Object.entries(step.headers ?? {})) response.setHeader(name, value)
    if (step.cutBodyAt !== undefined) {
      response.setHeader('content-length', bytes.length)
      response.write(bytes.subarray(0, step.cutBodyAt), () => socket.destroy())
      return
    }
    if (step.trickle !== undefined) await this.#trickle(response, bytes, step.trickle)
    else response.write(bytes)
    response.end(() => {
      if (step.closeAfter === true || step.early === true) socket.end()
    })
  }

  async #trickle(
    response: ServerResponse,
    bytes: Buffer,
    how: NonNullable<Step['trickle']>,
  ): Promise<void> {
    do {
      for (let at = 0; at < bytes.length && !response.destroyed; at += how.bytes) {
        response.write(bytes.subarray(at, at + how.bytes))
        await this.#wait(how.everyMs)
      }
    } while (how.endless === true && !response.destroyed)
  }

  async #wait(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer)
        resolve()
      }, ms)
      this.#timers.add(timer)
    })
  }
}

function stepAt(script: readonly Step[], index: number): Step {
  return script[index] ?? script.at(-1) ?? {}
}

function countsAsStored(step: Step): boolean {
  if (step.drop !== undefined) return step.drop === 'after'
  return step.rawBytes === undefined && (step.halfOpen === true || (step.status ?? 200) < 300)
}

function decode(request: IncomingMessage, raw: Buffer): Buffer | null {
  if (Number(request.headers['content-length'] ?? raw.length) !== raw.length) return null
  if (request.headers['content-encoding'] !== 'gzip') return raw
  try {
    return gunzipSync(raw)
  } catch {
    return null
  }
}

function encode(body: Step['body']): { readonly bytes: Buffer; readonly type: string | null } {
  if (body === undefined) return { bytes: Buffer.alloc(0), type: null }
  if (typeof body === 'string') return { bytes: Buffer.from(body), type: null }
  if (body instanceof Uint8Array) return { bytes: Buffer.from(body), type: null }
  return { bytes: Buffer.from(JSON.stringify(body)), type: 'application/json' }
}
