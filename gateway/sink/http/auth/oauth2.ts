/**
 * OAuth 2 client credentials (RFC 6749, section 4.4): a token is asked for with the first request,
 * and renewed while it still works, so that a renewal that fails costs nothing yet. One request for
 * a token is in progress at a time. A token that the sink answers 401 to is given up and another
 * one asked for, once; then the sink holds, and each probe asks for a fresh one.
 *
 * Lifetimes go by the monotonic clock. Not here: refresh tokens (the grant gives none), assertions,
 * other grants.
 */

import { hideSecrets } from '../../../shared/text/hide-secrets.ts'
import { excerpt, MAX_ANSWER_BYTES, printable } from '../answers/answer.ts'
import { bodyOf, parseObject } from '../answers/body.ts'
import type { ClientAnswer } from '../client/connection.ts'
import { parseHttpDate, parseRetryAfter } from '../client/http-date.ts'
import { proxyRefusalOf } from '../client/link-error.ts'
import { describeNetworkError } from '../client/network-error.ts'
import { basicValue, type HeaderPair } from '../header-rules.ts'
import type { OAuth2Config } from './config.ts'
import { KeptSecret } from './kept-secret.ts'
import {
  type AuthFailure,
  type AuthOptions,
  type AuthRequest,
  type AuthVerdict,
  holdFor,
  type RequestAuth,
} from './request-auth.ts'

/** Of a token whose server does not say how long it lives, ms. */
const UNSAID_LIFETIME_MS = 3_600_000

/**
 * Shortest time between two requests for a token while the old one still works, ms; less where that
 * is short.
 */
const EARLY_PAUSE_MS = 15_000

const MAX_WORDS = 200

interface AccessToken {
  readonly value: string
  /** Monotonic, ms. */
  readonly renewFrom: number
  readonly endsAt: number
}

export class OAuth2Auth implements RequestAuth {
  readonly #config: OAuth2Config
  readonly #options: AuthOptions
  readonly #url: URL
  readonly #secret: KeptSecret
  readonly #ending = new AbortController()
  #token: AccessToken | null = null
  #renewal: Promise<AuthFailure | null> | null = null
  #lastTryAt = Number.NEGATIVE_INFINITY
  /** The sink refused a token, and has taken none since. */
  #wasRefused = false

  constructor(config: OAuth2Config, options: AuthOptions) {
    this.#config = config
    this.#options = options
    this.#url = new URL(config.tokenUrl)
    this.#secret = new KeptSecret({
      sink: options.sink,
      setting: 'auth.clientSecret',
      secret: config.clientSecret,
      emit: options.emit,
      faultOf: (value) =>
        /^[\x20-\x7e]+$/.test(value) ? null : 'holds characters that are no printable ASCII',
    })
  }

  get failing(): boolean {
    return this.#secret.failing
  }

  async headersFor(
    _request: AuthRequest,
    signal: AbortSignal,
  ): Promise<{ readonly pairs: readonly HeaderPair[] } | AuthFailure> {
    const now = performance.now()
    const token = this.#token
    if (token !== null && now < token.endsAt) {
      const pauseMs = Math.min(EARLY_PAUSE_MS, (token.endsAt - token.renewFrom) / 8)
      const isPaused = now - this.#lastTryAt < pauseMs
      if (now >= token.renewFrom && !isPaused) void this.#renew()
      return { pairs: [['authorization', `Bearer ${token.value}`]] }
    }
    const failure = await unlessAborted(this.#renew(), signal)
    if (failure !== null) return failure
    return this.#token === null
      ? { kind: 'retry', why: 'the token was given up', code: null, retryAfterMs: null }
      : { pairs: [['authorization', `Bearer ${this.#token.value}`]] }
  }

  learn({ status, pairs }: AuthVerdict): string | null {
    const sent = pairs.find(([name]) => name === 'authorization')?.[1]
    if (status !== 401 && status !== 403) {
      if (status >= 200 && status <= 299) this.#wasRefused = false
      return null
    }
    // Another request may have brought a newer one meanwhile.
    if (sent === `Bearer ${this.#token?.value}`) this.#token = null
    // 403: the token is known, and what it may do is not enough.
    if (status === 403 || this.#wasRefused) return null
    this.#wasRefused = true
    return 'the sink does not take the token; another one is asked for'
  }

  async refresh(): Promise<boolean> {
    return await this.#secret.refresh()
  }

  close(): void {
    this.#ending.abort()
  }

  /** null: there is a new token. One at a time. */
  #renew(): Promise<AuthFailure | null> {
    this.#renewal ??= this.#ask().finally(() => {
      this.#renewal = null
    })
    return this.#renewal
  }

  async #ask(): Promise<AuthFailure | null> {
    this.#lastTryAt = performance.now()
    const { value: secret } = this.#secret
    if (secret === null) return holdFor(this.#secret.why)
    const client = this.#options.outbound.clientFor(this.#url)
    if ('why' in client) return holdFor(client.why)
    const { timeoutMs, minBytesPerSecond } = this.#options
    const { head, body } = this.#request(secret)
    let outcome: AuthFailure | AccessToken | null = null
    const read = (answer: ClientAnswer): AuthFailure | AccessToken => {
      outcome ??= this.#read(answer, secret)
      return outcome
    }
    const answer = await client.send(
      {
        head,
        body: [body],
        bodyBytes: body.length,
        timeoutMs,
        minBytesPerSecond,
        maxAnswerBytes: MAX_ANSWER_BYTES,
        signal: this.#ending.signal,
      },
      (one) => 'value' in read(one),
    )
    const result = read(answer)
    if (!('value' in result)) return result
    this.#token = result
    return null
  }

  #request(secret: string): { readonly head: string; readonly body: Buffer } {
    const { clientId, clientAuth, scope, parameters } = this.#config
    const form = new URLSearchParams({ ...parameters, grant_type: 'client_credentials' })
    if (scope !== null) form.set('scope', scope)
    if (clientAuth === 'post') {
      form.set('client_id', clientId)
      form.set('client_secret', secret)
    }
    const body = Buffer.from(form.toString())
    const lines = [
      `POST ${this.#url.pathname}${this.#url.search} HTTP/1.1`,
      `host: ${this.#url.host}`,
      'connection: keep-alive',
      'user-agent: sluice',
      'accept: application/json',
      'accept-encoding: identity',
      'content-type: application/x-www-form-urlencoded',
      `content-length: ${body.length}`,
    ]
    // Both are form-encoded before they are joined (RFC 6749, section 2.3.1).
    if (clientAuth === 'basic')
      lines.push(`authorization: ${basicValue(formEncoded(clientId), formEncoded(secret))}`)
    return { head: `${lines.join('\r\n')}\r\n\r\n`, body }
  }

  #read(received: ClientAnswer, secret: string): AuthFailure | AccessToken {
    const { head, error } = received
    const target = this.#url.host
    this.#options.outbound.learn(head === null ? error : null)
    if (head === null || error !== null) {
      const progress = { sentBytes: 0, bodyBytes: 0 }
      const why = `no token: ${describeNetworkError(error ?? new Error('no answer'), target, progress)}`
      const kind = proxyRefusalOf(error)?.mayPass === false ? 'hold' : 'retry'
      return { kind, why, code: null, retryAfterMs: null }
    }
    const { status, headers } = head
    const answer = { status, headers, body: received.body, bodyTooLong: received.tooLong }
    const code = String(status)
    const body = bodyOf(answer)
    const members = 'why' in body ? null : parseObject(body.text)
    const secrets = quotable(this.#config.clientId, secret, members)
    const said = (why: string): string =>
      hideSecrets(`no token: ${target} answered ${status}${why}`, secrets)
    if (status >= 200 && status <= 299) {
      const token = members === null ? null : tokenOf(members, this.#config.renewAt)
      if (token !== null) return token
      const why = said(`, without an access_token of type Bearer${excerpt(answer)}`)
      return { kind: 'hold', why, code, retryAfterMs: null }
    }
    if (status === 408 || status === 429 || status >= 500) {
      const retryAfterMs = waitOf(headers, this.#options.maxRetryAfter)
      return { kind: 'retry', why: said(excerpt(answer)), code, retryAfterMs }
    }
    const words = members === null ? excerpt(answer) : errorIn(members)
    return { kind: 'hold', why: said(words), code, retryAfterMs: null }
  }
}

/** What a server may quote of a request, and what it may give that is of no use here. */
function quotable(
  clientId: string,
  secret: string,
  members: Readonly<Record<string, unknown>> | null,
): string[] {
  const encoded = formEncoded(secret)
  const basic = basicValue(formEncoded(clientId), encoded).replace('Basic ', '')
  const token = members?.['access_token']
  return [secret, encoded, basic, ...(typeof token === 'string' ? [token] : [])]
}

function tokenOf(members: Readonly<Record<string, unknown>>, renewAt: number): AccessToken | null {
  const { access_token: value, token_type: type, expires_in: seconds } = members
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) return null
  const isBearer = typeof type === 'string' && type.toLowerCase() === 'bearer'
  if (type !== undefined && !isBearer) return null
  const said = Number(seconds)
  const lifetimeMs = seconds !== null && said > 0 ? said * 1000 : UNSAID_LIFETIME_MS
  const now = performance.now()
  return { value, renewFrom: now + lifetimeMs * renewAt, endsAt: now + lifetimeMs }
}

/** RFC 6749, section 5.2. */
function errorIn({ error, error_description: description }: Readonly<Record<string, unknown>>) {
  const words = [error, description].filter((one) => typeof one === 'string').join(': ')
  const hint = HINTS[String(error)]
  return ` (${printable(words, MAX_WORDS)})${hint === undefined ? '' : `; ${hint}`}`
}

const HINTS: Readonly<Record<string, string>> = {
  invalid_client: 'check auth.clientId, auth.clientSecret and auth.clientAuth',
  invalid_scope: 'check auth.scope',
  unauthorized_client: 'the client may not use the grant client_credentials',
  unsupported_grant_type: 'this server does not give tokens for client credentials',
}

function waitOf(headers: ClientHeaders, maxRetryAfter: number): number | null {
  const text = (name: string): string | null => {
    const value = headers[name]
    return typeof value === 'string' ? value : (value?.[0] ?? null)
  }
  const wait = text('retry-after')
  const date = text('date')
  if (wait === null) return null
  return parseRetryAfter(wait, date === null ? null : parseHttpDate(date), maxRetryAfter)
}

type ClientHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}

async function unlessAborted(
  renewal: Promise<AuthFailure | null>,
  signal: AbortSignal,
): Promise<AuthFailure | null> {
  const aborted: AuthFailure = { kind: 'retry', why: 'given up', code: null, retryAfterMs: null }
  if (signal.aborted) return aborted
  let onAbort: () => void = () => undefined
  const end = new Promise<AuthFailure>((resolve) => {
    onAbort = () => resolve(aborted)
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([renewal, end])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
