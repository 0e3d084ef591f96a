/**
 * Signatures that hold around a moment: AWS Signature Version 4 and Azure's shared access
 * signatures. They go by the wall clock, which is wrong on many a box: a sink that refuses one and
 * whose own clock (`Date`) is far from here is believed, and signatures follow its clock from then
 * on.
 */
import type { HeaderPair } from '../header-rules.ts'
import { AwsKeys } from './aws-credentials.ts'
import { sha256Hex, sigV4Headers } from './aws-sigv4.ts'
import { sasKeyFault, sasResource, sasToken } from './azure-sas.ts'
import type { AwsAuthConfig, AzureSasConfig } from './config.ts'
import { KeptSecret } from './kept-secret.ts'
import {
  type AuthFailure,
  type AuthOptions,
  type AuthRequest,
  type AuthVerdict,
  holdFor,
  type RequestAuth,
} from './request-auth.ts'

/** AWS refuses what is 5 minutes off; the difference that matters is a little less. ms */
const MAX_SKEW_MS = 240_000

/** The wall clock as the sink has it. */
class SinkClock {
  readonly #nowMs: () => number
  #offsetMs = 0

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  now(): number {
    return this.#nowMs() + this.#offsetMs
  }

  /** Words: signatures follow another clock from now on. */
  learn({ status, dateMs }: AuthVerdict): string | null {
    if (dateMs === null || (status !== 400 && status !== 401 && status !== 403)) return null
    if (Math.abs(dateMs - this.now()) <= MAX_SKEW_MS) return null
    this.#offsetMs = dateMs - this.#nowMs()
    const seconds = Math.round(-this.#offsetMs / 1000)
    return `the clock of this box is ${seconds} s from the sink's; signatures now follow the sink's`
  }
}

/** Signs each request anew. */
export class AwsSigV4Auth implements RequestAuth {
  readonly #config: AwsAuthConfig
  readonly #keys: AwsKeys
  readonly #clock: SinkClock

  constructor(config: AwsAuthConfig, { sink, emit, nowMs }: AuthOptions) {
    this.#config = config
    this.#keys = new AwsKeys(sink, config, emit)
    this.#clock = new SinkClock(nowMs)
  }

  get failing(): boolean {
    return this.#keys.failing
  }

  async headersFor({
    body,
    ...request
  }: AuthRequest): Promise<{ readonly pairs: readonly HeaderPair[] } | AuthFailure> {
    const found = this.#keys.resolve()
    if ('why' in found) return holdFor(found.why)
    const payloadHash = sha256Hex(body)
    const dated = { ...request, payloadHash, atMs: this.#clock.now() }
    return { pairs: sigV4Headers(dated, found.keys, this.#config) }
  }

  learn(verdict: AuthVerdict): string | null {
    return this.#clock.learn(verdict)
  }

  async refresh(): Promise<boolean> {
    return await this.#keys.refresh()
  }

  close(): void {}
}

/** Keeps a token for 3/4 of its lifetime. */
export class AzureSasAuth implements RequestAuth {
  readonly #config: AzureSasConfig
  readonly #key: KeptSecret
  readonly #clock: SinkClock
  #token: { readonly value: string; readonly madeAtMs: number; readonly url: string } | null = null

  constructor(config: AzureSasConfig, { sink, emit, nowMs }: AuthOptions) {
    this.#config = config
    const { key: secret, receiver } = config
    const faultOf = (key: string): string | null => sasKeyFault(key, receiver)
    this.#key = new KeptSecret({ sink, setting: 'auth.key', secret, emit, faultOf })
    this.#clock = new SinkClock(nowMs)
  }

  get failing(): boolean {
    return this.#key.failing
  }

  async headersFor({
    url,
  }: AuthRequest): Promise<{ readonly pairs: readonly HeaderPair[] } | AuthFailure> {
    const { value: key } = this.#key
    if (key === null) return holdFor(this.#key.why)
    const { receiver, keyName, lifetime } = this.#config
    const now = this.#clock.now()
    const age = this.#token === null ? Number.POSITIVE_INFINITY : now - this.#token.madeAtMs
    // A clock that went back makes a token that ends too late, or has not begun.
    const isGood = age >= 0 && age < lifetime * 0.75
    if (this.#token === null || !isGood || this.#token.url !== url.href) {
      const resource = this.#config.resource ?? sasResource(url, receiver)
      const untilMs = now + lifetime
      const value = sasToken({ receiver, resource, keyName, key, untilMs })
      this.#token = { value, madeAtMs: now, url: url.href }
    }
    return { pairs: [['authorization', this.#token.value]] }
  }

  learn(verdict: AuthVerdict): string | null {
    const words = this.#clock.learn(verdict)
    if (words !== null) this.#token = null
    return words
  }

  async refresh(): Promise<boolean> {
    const changed = await this.#key.refresh()
    if (changed) this.#token = null
    return changed
  }

  close(): void {}
}
