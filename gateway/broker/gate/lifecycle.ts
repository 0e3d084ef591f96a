/**
 * The state of one connection, from accept to end, and the ways to end it, each counted and told
 * (I9). What ending means is the connection's business; it happens once.
 *
 * `awaiting-connect`, `authenticating` (the verdict is waited for), `opening` (the old holder of the
 * client id ends, a discarded session and a will become durable), `open`, `closed`.
 */
import type { CloseReason, RefuseReason } from '../events.ts'
import { CLOSE_CODES, CODEC_311, type Codec, type ReturnCode } from '../mqtt/codec.ts'
import { CLOSED } from '../mqtt/outcome.ts'
import { REASON, type ReasonCode } from '../mqtt/v5/reason-codes.ts'
import type { GateContext } from './context.ts'
import type { ConnectionState } from './deadlines.ts'

/** `lastWords`: leave before the end. `isOurs`: the client did not end it, and may be sending. */
type End = (lastWords: Uint8Array | null, isOurs: boolean) => void

export class Lifecycle {
  readonly remoteAddress: string
  /** Empty before CONNECT. */
  clientId = ''
  /** As the client's CONNECT says. */
  codec: Codec = CODEC_311
  readonly #context: Pick<GateContext, 'config' | 'monotonicMs' | 'reports' | 'stats'>
  readonly #end: End
  #state: ConnectionState = 'awaiting-connect'
  #sinceMs: number
  #saidGoodbye = false

  constructor(
    context: Pick<GateContext, 'config' | 'monotonicMs' | 'reports' | 'stats'>,
    remoteAddress: string,
    end: End,
  ) {
    this.#context = context
    this.remoteAddress = remoteAddress
    this.#end = end
    this.#sinceMs = context.monotonicMs()
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** When the state began, monotonic ms. */
  get sinceMs(): number {
    return this.#sinceMs
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  /** It ended with a DISCONNECT: the will is discarded [MQTT-3.14.4-3]. */
  get saidGoodbye(): boolean {
    return this.#saidGoodbye
  }

  enter(state: Exclude<ConnectionState, 'closed'>): void {
    this.#state = state
    this.#sinceMs = this.#context.monotonicMs()
  }

  /** For `ms` the gateway did not run. */
  shift(ms: number): void {
    this.#sinceMs += ms
  }

  /**
   * The gateway closes the connection. `code`: what a client of MQTT 5 is told, where the reason
   * does not say it.
   */
  close(
    reason: CloseReason,
    detail: string,
    code: ReasonCode = CLOSE_CODES[reason],
  ): typeof CLOSED {
    if (this.isClosed) return CLOSED
    this.#context.reports.closed(this, reason, detail)
    this.#context.stats.connectionsClosed[reason] += 1
    this.#finish(this.codec.isV5 ? this.#lastWords(code, detail) : null, true)
    return CLOSED
  }

  #lastWords(code: ReasonCode, detail: string): Buffer | null {
    // Before CONNACK a DISCONNECT would be a protocol error of ours [MQTT-3.14.0-1].
    if (this.#state !== 'open' && this.#state !== 'awaiting-connect') return null
    const { config, reports } = this.#context
    reports.sent(code)
    const reference = code === REASON.useAnotherServer ? config.serverReference : null
    return this.#state === 'open'
      ? this.codec.goodbye(code, detail, reference)
      : this.codec.refused(code, detail)
  }

  malformed(detail: string, code: ReasonCode = REASON.malformedPacket): typeof CLOSED {
    return this.close('malformed', detail, code)
  }

  /**
   * CONNACK with this code, then the end. null: the end without a CONNACK, where the client may
   * come again: libraries take any return code for final.
   */
  refuse(returnCode: ReturnCode | null, reason: RefuseReason, detail: string): typeof CLOSED {
    if (this.isClosed) return CLOSED
    this.#context.reports.refused(this, reason, detail)
    this.#finish(returnCode === null ? null : this.codec.refused(returnCode, detail), true)
    return CLOSED
  }

  /** It ends by itself. `saidGoodbye`: with a DISCONNECT after which no will is published. */
  leave(
    reason: 'client-disconnect' | 'connection-lost',
    saidGoodbye = reason === 'client-disconnect',
  ): typeof CLOSED {
    if (this.isClosed) return CLOSED
    this.#context.stats.connectionsClosed[reason] += 1
    this.#saidGoodbye = saidGoodbye
    this.#finish(null, false)
    return CLOSED
  }

  #finish(lastWords: Uint8Array | null, isOurs: boolean): void {
    this.#state = 'closed'
    this.#end(lastWords, isOurs)
  }
}
