/**
 * The operator of a running gateway, over its admin server (admin/routes/). Never prints the token.
 */
import { formatDuration } from '../config/units.ts'
import type { DevicePage, DeviceQuery } from '../ports/devices.ts'
import type {
  ConfigReport,
  DeadLetterChange,
  DeadLetterOperator,
  DeadLetterPage,
  DeadLetterSelection,
  RecordPage,
  ReloadOptions,
  ReloadOutcome,
  RunningOperator,
  StreamOperator,
  VerifyReport,
  WrittenLevel,
} from '../ports/operator.ts'
import type { DeliveryState, Status } from '../ports/status.ts'
import { CliError, EXIT } from './exit.ts'
import { type JsonAnswer, openStream, requestJson } from './json-request.ts'

/** A requeue or purge of many is one commit, but a slow disk may take its time. */
const TIMEOUT_MS = 30_000
/** A large backlog on a slow disk. */
const VERIFY_TIMEOUT_MS = 60 * 60_000
/** Ids in one request, as the server takes them. */
const MAX_IDS = 1_000

/** Nothing listens at that address: the gateway does not run, or its admin server is elsewhere. */
export class NotRunningError extends Error {
  override readonly name = 'NotRunningError'
}

export class HttpOperator implements RunningOperator {
  readonly #url: string
  readonly #token: string | null
  readonly deadLetters: DeadLetterOperator
  readonly streams: StreamOperator

  readonly #socketPath: string | null

  /**
   * @param url without path, `http://127.0.0.1:9464`
   * @param socketPath the socket in the data folder, instead of the URL's address
   */
  constructor(url: string, token: string | null, socketPath: string | null = null) {
    this.#url = url
    this.#token = token
    this.#socketPath = socketPath
    this.deadLetters = {
      list: async ({ stream, after, limit }) => {
        const query = new URLSearchParams({
          stream,
          limit: String(limit),
          ...(after === null ? {} : { after }),
        })
        return (await this.#ask('GET', `/api/dead-letters?${query.toString()}`)) as DeadLetterPage
      },
      requeue: (selection) => this.#change('/api/dead-letters/requeue', selection),
      purge: (selection) => this.#change('/api/dead-letters/purge', selection),
    }
    this.streams = {
      drainTo: async (stream, sink) => {
        await this.#ask('POST', `/api/streams/${encodeURIComponent(stream)}/drain`, { sink })
      },
      park: async (stream, seq) => {
        await this.#ask('POST', `/api/streams/${encodeURIComponent(stream)}/park`, { seq })
      },
      records: async (stream, after) => {
        const query = after === null ? '' : `?${new URLSearchParams({ after }).toString()}`
        return (await this.#ask(
          'GET',
          `/api/streams/${encodeURIComponent(stream)}/records${query}`,
        )) as RecordPage
      },
    }
  }

  get url(): string {
    return this.#url
  }

  get #who(): string {
    return this.#socketPath === null ? this.#url : 'the gateway'
  }

  async status(): Promise<Status> {
    return (await this.#ask('GET', '/api/status')) as Status
  }

  async devices({ search, sort, silent, limit, after }: DeviceQuery): Promise<DevicePage> {
    const query = new URLSearchParams({
      search,
      sort,
      silent: String(silent),
      limit: String(limit),
      ...(after === null ? {} : { after }),
    })
    return (await this.#ask('GET', `/api/devices?${query.toString()}`)) as DevicePage
  }

  async forgetDevice(id: string): Promise<void> {
    await this.#ask('DELETE', `/api/devices/${encodeURIComponent(id)}`)
  }

  async retrySink(name: string): Promise<DeliveryState> {
    const path = `/api/sinks/${encodeURIComponent(name)}/retry`
    const { state } = (await this.#ask('POST', path, {})) as { state?: DeliveryState }
    // A gateway of an older version does not say.
    return state ?? 'held'
  }

  async leave(): Promise<void> {
    await this.#ask('POST', '/api/leave', {})
  }

  async config(): Promise<ConfigReport> {
    return (await this.#ask('GET', '/api/config')) as ConfigReport
  }

  async reload({ dryRun, probationMs }: ReloadOptions): Promise<ReloadOutcome> {
    const body = { dryRun, probation: formatDuration(probationMs) }
    return (await this.#ask('POST', '/api/reload', body)) as ReloadOutcome
  }

  async setLogLevel(level: WrittenLevel): Promise<void> {
    await this.#ask('POST', '/api/log-level', { level })
  }

  async newSpoolId(): Promise<string> {
    const { spoolId } = (await this.#ask('POST', '/api/spool/new-id', {})) as { spoolId: string }
    return spoolId
  }

  async verify(): Promise<VerifyReport> {
    return (await this.#ask('POST', '/api/spool/verify', {}, VERIFY_TIMEOUT_MS)) as VerifyReport
  }

  async *backup(): AsyncGenerator<Uint8Array> {
    yield* await this.#open('/api/spool/backup')
  }

  /** What a path answers that is no JSON: metrics, the log. */
  async text(path: string): Promise<string> {
    const chunks: Uint8Array[] = []
    for await (const chunk of await this.#open(path)) chunks.push(chunk)
    return Buffer.concat(chunks).toString('utf8')
  }

  async #open(path: string): Promise<AsyncIterable<Uint8Array>> {
    const headers = this.#token === null ? {} : { authorization: `Bearer ${this.#token}` }
    const url = new URL(path, this.#url)
    const incoming = await openStream({ url, headers, socketPath: this.#socketPath }).catch(
      (error: unknown) => {
        throw connectionError(this.#who, error)
      },
    )
    if (incoming.statusCode !== 200)
      throw new CliError(EXIT.failed, `${this.#who} answers ${incoming.statusCode} to ${path}`)
    return incoming as AsyncIterable<Uint8Array>
  }

  /** Many ids go in several requests; each is durable by itself. */
  async #change(path: string, { stream, ids }: DeadLetterSelection): Promise<DeadLetterChange> {
    if (ids === 'all')
      return (await this.#ask('POST', path, { stream, all: true })) as DeadLetterChange
    let total: DeadLetterChange = { changed: 0, skipped: [] }
    for (let from = 0; from < ids.length; from += MAX_IDS) {
      const part = { stream, ids: ids.slice(from, from + MAX_IDS) }
      const { changed, skipped } = (await this.#ask('POST', path, part)) as DeadLetterChange
      total = { changed: total.changed + changed, skipped: [...total.skipped, ...skipped] }
    }
    return total
  }

  async #ask(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body?: object,
    timeoutMs = TIMEOUT_MS,
  ): Promise<unknown> {
    const text = body === undefined ? null : JSON.stringify(body)
    const headers: Record<string, string> = { accept: 'application/json' }
    if (this.#token !== null) headers['authorization'] = `Bearer ${this.#token}`
    if (text !== null) {
      headers['content-type'] = 'application/json'
      headers['content-length'] = String(Buffer.byteLength(text))
    }
    const url = new URL(path, this.#url)
    let answer: JsonAnswer
    try {
      answer = await requestJson({
        method,
        url,
        headers,
        body: text,
        timeoutMs,
        socketPath: this.#socketPath,
      })
    } catch (error) {
      throw connectionError(this.#who, error)
    }
    if (answer.status >= 200 && answer.status < 300 && answer.body !== undefined) return answer.body
    const { text: said, code } = errorOf(answer)
    const cause = code === null ? undefined : Object.assign(new Error(said), { code })
    throw new CliError(EXIT.failed, `${this.#who} says: ${said}`, cause)
  }
}

function connectionError(who: string, error: unknown): Error {
  // localhost has several addresses, and Node tries them all.
  const [first] = error instanceof AggregateError ? (error.errors as unknown[]) : [error]
  const code = first instanceof Error && 'code' in first ? first.code : null
  if (code === 'ECONNREFUSED' || code === 'ENOENT')
    return new NotRunningError(`nothing listens on ${who}`)
  const why = first instanceof Error ? first.message : String(first)
  return new CliError(EXIT.failed, `cannot talk to ${who}: ${why}`, error)
}

/** What the server says is wrong, and the code that it gives. */
function errorOf({ status, body }: JsonAnswer): {
  readonly text: string
  readonly code: string | null
} {
  const error = typeof body === 'object' && body !== null && 'error' in body ? body.error : null
  if (typeof error !== 'object' || error === null || !('message' in error))
    return { text: `status ${status}; is that a Sluice gateway?`, code: null }
  const hint =
    status === 401
      ? ' (the configuration that this command reads has admin.token; name it with --config)'
      : ''
  const code = 'code' in error && typeof error.code === 'string' ? error.code : null
  return { text: `${String(error.message)}${hint}`, code }
}
