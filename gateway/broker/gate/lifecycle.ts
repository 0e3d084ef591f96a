/**
 * The state of one connection, from accept to end, and the ways to end it, each counted and told
 * (I9). What ending means is the connection's business; it happens once.
 *
 * `awaiting-connect`, `authenticating` (the verdict is waited for), `opening` (the old holder of the
 * client id ends, a discarded session and a will become durable), `open`, `closed`.
 */
import type { CloseReason, RefuseReason } from '../events.ts'
import { CLOSED } from '../mqtt/outcome.ts'
import { connack } from '../mqtt/packets.ts'
import type { GateContext } from './context.ts'
import type { ConnectionState } from './deadlines.ts'

/** `lastWords`: leave before the end. */
type End = (lastWords: Uint8Array | null) => void

export class Lifecycle {
  readonly remoteAddress: string
  /** Empty before CONNECT. */
  clientId = ''
  readonly #context: Pick<GateContext, 'monotonicMs' | 'reports' | 'stats'>
  readonly #end: End
  #state: ConnectionState = 'awaiting-connect'
  #sinceMs: number
  #saidGoodbye = false

  constructor(
    context: Pick<GateContext, 'monotonicMs' | 'reports' | 'stats'>,
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

  /** The gateway closes the connection. */
  close(reason: CloseReason, detail: string): typeof CLOSED {
    if (this.isClosed) return CLOSED
    this.#context.reports.closed(this, reason, detail)
    return this.leave(reason)
  }

  malformed(detail: string): typeof CLOSED {
    return this.close('malformed', detail)
  }

  /**
   * CONNACK with this code, then the end. null: the end without a CONNACK, where the client may
   * come again: libraries take any return code for final.
   */
  refuse(returnCode: number | null, reason: RefuseReason, detail: string): typeof CLOSED {
    if (this.isClosed) return CLOSED
    this.#context.reports.refused(this, reason, detail)
    this.#finish(returnCode === null ? null : connack(returnCode, false))
    return CLOSED
  }

  /** It ends; for `client-disconnect` and `connection-lost` by itself. */
  leave(reason: CloseReason): typeof CLOSED {
    if (this.isClosed) return CLOSED
    this.#context.stats.connectionsClosed[reason] += 1
    this.#saidGoodbye = reason === 'client-disconnect'
    this.#finish(null)
    return CLOSED
  }

  #finish(lastWords: Uint8Array | null): void {
    this.#state = 'closed'
    this.#end(lastWords)
  }
}
