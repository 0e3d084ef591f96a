/**
 * Is this sink there, and would it take batches? Name, connection, TLS and one request that can
 * deliver nothing (the contract's probe), told in words, step by step up to the first that fails.
 * For `sluice check --try`: it needs no spool, changes nothing here, and there is no batch that it
 * could put at risk.
 */
import type { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { ProbeStep, SinkProbe } from '../../ports/sink.ts'
import { hideSecrets } from '../../shared/text/hide-secrets.ts'
import type { EmitSinkEvent, SinkEvent } from '../events.ts'
import { excerpt } from './answers/answer.ts'
import { secretsOf } from './answers/hide-secrets.ts'
import { answerRules } from './answers/rules.ts'
import { statusHint } from './answers/statuses.ts'
import { createAuth } from './auth/auth.ts'
import { Addresses, type Lookup } from './client/addresses.ts'
import { type ClientAnswer, HttpConnection } from './client/connection.ts'
import { type Dialed, type DialOptions, dial } from './client/dial.ts'
import { DialError } from './client/link-error.ts'
import { describeNetworkError } from './client/network-error.ts'
import type { HttpSinkConfig } from './config.ts'
import { formatOf } from './formats/registry.ts'
import type { HeaderPair } from './header-rules.ts'
import { Outbound } from './outbound.ts'
import { ProxyRoute } from './proxy/proxy.ts'
import { hostOf, portOf, probeHead, targetOf } from './request.ts'
import { SecretHeaders } from './secrets.ts'
import { SinkTls } from './tls.ts'

/** A certificate that ends sooner is worth a word, days. */
const EXPIRES_SOON_DAYS = 14
const DAY_MS = 86_400_000

/** Of a probe's answer the status counts; its beginning is quoted. */
const MAX_PROBE_ANSWER_BYTES = 64 * 1024

type ProbeVerdict = ProbeStep['verdict']

export interface HttpProbeStep extends ProbeStep {
  readonly step: 'settings' | 'auth' | 'name' | 'connection' | 'proxy' | 'tls' | 'answer'
  /** How long it took, ms; null: it did not come to an end. */
  readonly ms: number | null
}

/** What the other side showed of itself. */
interface ProbeCertificate {
  readonly subject: string
  readonly issuer: string
  /** The names that it is for. */
  readonly names: readonly string[]
  /** ms since the epoch. */
  readonly validFromMs: number
  readonly validToMs: number
}

export interface HttpProbe extends SinkProbe {
  /** The worst of the steps. */
  readonly verdict: ProbeVerdict
  readonly steps: readonly HttpProbeStep[]
  /** Also of a handshake that failed for it; null: none was seen. */
  readonly certificate: ProbeCertificate | null
  /** Of the answer; null: there was none. */
  readonly status: number | null
}

interface ProbeOptions {
  readonly name: string
  readonly config: HttpSinkConfig
  readonly signal?: AbortSignal
  readonly lookup?: Lookup
  /** Wall clock, ms since the epoch: certificates go by it. */
  readonly nowMs?: () => number
}

/**
 * Takes at most `connectTimeout` (twice, if a certificate has to be looked at) and `timeout`. Never
 * rejects.
 */
export async function probeSink(options: ProbeOptions): Promise<HttpProbe> {
  const probe = new Probe(options)
  await probe.run()
  return probe.result()
}

class Probe {
  readonly #options: ProbeOptions
  readonly #url: URL
  readonly #target: string
  readonly #steps: HttpProbeStep[] = []
  #certificate: ProbeCertificate | null = null
  #status: number | null = null

  constructor(options: ProbeOptions) {
    this.#options = options
    this.#url = new URL(options.config.url)
    this.#target = `${this.#url.hostname}:${portOf(this.#url)}`
  }

  result(): HttpProbe {
    const has = (verdict: ProbeVerdict): boolean =>
      this.#steps.some((one) => one.verdict === verdict)
    return {
      sink: this.#options.name,
      target: this.#target,
      verdict: has('problem') ? 'problem' : has('warning') ? 'warning' : 'ok',
      steps: this.#steps,
      certificate: this.#certificate,
      status: this.#status,
    }
  }

  async run(): Promise<void> {
    const { name, config } = this.#options
    const told: string[] = []
    const emit = (event: SinkEvent): void => {
      if (event.type === 'sink.header-ignored')
        told.push(`headers.${event.header} is not sent: the contract sets it`)
      else if (event.type === 'sink.file-unusable' && event.kept) told.push(event.detail)
    }
    const headers = new SecretHeaders(name, config, emit).resolve()
    if ('why' in headers) {
      this.#say('settings', 'problem', headers.why, null)
      return
    }
    const target = targetOf(this.#url)
    const tls = target.isTls ? new SinkTls(name, config.tls, emit).resolve() : { context: null }
    if ('why' in tls) {
      this.#say('settings', 'problem', tls.why, null)
      return
    }
    for (const detail of told) this.#say('settings', 'warning', detail, null)
    const proxy = new ProxyRoute(name, config.proxy, emit).hopTo(target)
    if (proxy !== null && 'why' in proxy) {
      this.#say('settings', 'problem', proxy.why, null)
      return
    }
    const dialOptions: DialOptions = {
      proxy,
      addresses: new Addresses(proxy?.hostname ?? target.hostname, this.#options.lookup),
      hostname: target.hostname,
      port: target.port,
      timeoutMs: config.connectTimeout,
      signal: this.#options.signal ?? new AbortController().signal,
      tls:
        tls.context === null
          ? null
          : { context: tls.context, session: null, onSession: () => undefined, verify: true },
    }
    const dialed = await this.#connect(dialOptions)
    if (dialed === null) return
    const auth = await this.#authorize(emit)
    if (auth === null) dialed.socket.destroy()
    else await this.#ask(dialed, [...headers.pairs, ...auth])
  }

  /** What a request says of who sends; null: it cannot be said. */
  async #authorize(emit: EmitSinkEvent): Promise<readonly HeaderPair[] | null> {
    const { name: sink, config, lookup, signal = new AbortController().signal } = this.#options
    const { auth: written, format, timeout: timeoutMs, minBytesPerSecond, maxRetryAfter } = config
    const startedAt = performance.now()
    const outbound = new Outbound({ sink, config, emit, lookup })
    const nowMs = this.#options.nowMs ?? Date.now
    const limits = { timeoutMs, minBytesPerSecond, maxRetryAfter }
    const auth = createAuth(written, { sink, emit, nowMs, outbound, ...limits })
    const { contentType } = formatOf(format, config.compression)
    const headers: HeaderPair[] = [['content-type', contentType]]
    const request = { method: 'POST', url: this.#url, headers, body: [] }
    const outcome = await auth.headersFor(request, signal)
    auth.close()
    outbound.destroy()
    const ms = performance.now() - startedAt
    if ('why' in outcome) {
      this.#say('auth', outcome.kind === 'hold' ? 'problem' : 'warning', outcome.why, null)
      return null
    }
    if (written.kind === 'oauth2')
      this.#say('auth', 'ok', `${new URL(written.tokenUrl).host} gave a token`, ms)
    else if (written.kind !== 'none') this.#say('auth', 'ok', `by ${written.kind}`, null)
    return outcome.pairs
  }

  /** The steps up to TLS. */
  async #connect(options: DialOptions): Promise<Dialed | null> {
    try {
      const dialed = await dial(options)
      this.#sayReached(dialed, options)
      if (options.tls !== null) {
        this.#certificate = certificateOf(dialed.socket)
        const version = (dialed.socket as TLSSocket).getProtocol() ?? 'TLS'
        const { verdict, detail } = this.#judgeCertificate()
        this.#say('tls', verdict, `${version}, ${detail}`, dialed.tlsMs)
      }
      return dialed
    } catch (error) {
      await this.#sayFailed(error, options)
      return null
    }
  }

  #sayReached(dialed: Dialed, { proxy = null }: DialOptions): void {
    const { found, address, lookupMs, connectMs } = dialed
    const all = found.map((one) => one.address).join(', ')
    const host = proxy?.hostname ?? hostOf(this.#url)
    if (all !== host) this.#say('name', 'ok', `${host} is ${all}`, lookupMs)
    const others = found.length > 1 ? `, the first of ${found.length} to answer` : ''
    this.#say('connection', 'ok', `${address.address} takes connections${others}`, connectMs)
    if (proxy !== null) this.#say('proxy', 'ok', `it opens a way to ${this.#target}`, null)
  }

  async #sayFailed(error: unknown, options: DialOptions): Promise<void> {
    const phase = error instanceof DialError ? error.phase : 'connect'
    const detail = describeNetworkError(error, this.#target, { sentBytes: 0, bodyBytes: 0 })
    if (phase !== 'tls') {
      const step = phase === 'dns' ? 'name' : phase === 'proxy' ? 'proxy' : 'connection'
      this.#say(step, 'problem', detail, null)
      return
    }
    const seen = await this.#lookAtCertificate(options)
    this.#say('tls', 'problem', seen === null ? detail : `${detail}; ${seen}`, null)
  }

  /**
   * Another handshake, without judging: to say what the certificate is that was not accepted.
   * Nothing is sent.
   */
  async #lookAtCertificate(options: DialOptions): Promise<string | null> {
    if (options.tls === null) return null
    try {
      const dialed = await dial({ ...options, tls: { ...options.tls, verify: false } })
      this.#sayReached(dialed, options)
      this.#certificate = certificateOf(dialed.socket)
      dialed.socket.destroy()
      return this.#judgeCertificate().detail
    } catch {
      return null
    }
  }

  #judgeCertificate(): { readonly verdict: ProbeVerdict; readonly detail: string } {
    const seen = this.#certificate
    if (seen === null) return { verdict: 'warning', detail: 'no certificate was shown' }
    const days = (seen.validToMs - (this.#options.nowMs ?? Date.now)()) / DAY_MS
    const until = new Date(seen.validToMs).toISOString().slice(0, 10)
    const whose = `certificate of ${seen.subject} for ${seen.names.join(', ') || 'no name'}, from ${seen.issuer}`
    if (days < 0) return { verdict: 'problem', detail: `${whose}, expired on ${until}` }
    const left = `valid until ${until}, ${Math.floor(days)} days left`
    if (days < EXPIRES_SOON_DAYS)
      return { verdict: 'warning', detail: `${whose}, only ${left}: renew it` }
    return { verdict: 'ok', detail: `${whose}, ${left}` }
  }

  async #ask(
    dialed: Dialed,
    headers: ReadonlyArray<readonly [name: string, value: string]>,
  ): Promise<void> {
    const { config, signal } = this.#options
    const { contentType, query = null } = formatOf(config.format, config.compression)
    const startedAt = performance.now()
    const connection = new HttpConnection(dialed.socket, dialed.address, dialed.connectMs)
    const answer = await connection.send(
      {
        head: probeHead(this.#url, { contentType, query }, headers),
        body: [],
        bodyBytes: 0,
        timeoutMs: config.timeout,
        minBytesPerSecond: config.minBytesPerSecond,
        maxAnswerBytes: MAX_PROBE_ANSWER_BYTES,
        signal: signal ?? new AbortController().signal,
      },
      0,
    )
    connection.destroy()
    this.#status = answer.head?.status ?? null
    const { verdict, detail } = this.#judgeAnswer(answer)
    const shown = hideSecrets(detail, secretsOf(this.#url, headers))
    this.#say('answer', verdict, shown, performance.now() - startedAt)
  }

  #judgeAnswer({ head, body, error }: ClientAnswer): {
    readonly verdict: ProbeVerdict
    readonly detail: string
  } {
    if (head === null) {
      const detail = describeNetworkError(error, this.#target, { sentBytes: 0, bodyBytes: 0 })
      return {
        verdict: 'warning',
        detail: `${detail}; a receiver that does not know probes may do that`,
      }
    }
    const { status } = head
    const said = `answered ${status} to a request without records`
    if (status >= 200 && status <= 299) return { verdict: 'ok', detail: said }
    const quoted = excerpt({ body })
    const meaning = answerRules(this.#options.config).meaningOf(status)
    if (meaning === 'retry') {
      const words = `${said}: it is there, and asks to come again later${quoted}`
      return { verdict: 'warning', detail: words }
    }
    if (meaning !== 'hold' || status === 411) {
      const words = `${said}: it is there; whether it takes batches was not seen${quoted}`
      return { verdict: 'warning', detail: words }
    }
    const hint = statusHint(status, head.headers)
    return { verdict: 'problem', detail: `${said}${hint === '' ? '' : `: ${hint}`}${quoted}` }
  }

  #say(
    step: HttpProbeStep['step'],
    verdict: ProbeVerdict,
    detail: string,
    ms: number | null,
  ): void {
    this.#steps.push({ step, verdict, detail, ms: ms === null ? null : Math.round(ms * 10) / 10 })
  }
}

function certificateOf(socket: Socket | TLSSocket): ProbeCertificate | null {
  const shown: X509Certificate | undefined =
    'getPeerX509Certificate' in socket ? socket.getPeerX509Certificate() : undefined
  if (shown === undefined) return null
  return {
    subject: commonName(shown.subject),
    issuer: commonName(shown.issuer),
    names: (shown.subjectAltName ?? '')
      .split(', ')
      .filter((one) => /^(?:DNS|IP Address):/.test(one))
      .map((one) => one.replace(/^[^:]+:/, '')),
    validFromMs: Date.parse(shown.validFrom),
    validToMs: Date.parse(shown.validTo),
  }
}

/** Of a name in OpenSSL's lines its CN, else the whole on one line. */
function commonName(name: string): string {
  const words = /^CN=(.*)$/m.exec(name)?.[1] ?? name.replaceAll('\n', ', ')
  return words.replaceAll(/[\p{C}\s]+/gu, ' ').slice(0, 200)
}
