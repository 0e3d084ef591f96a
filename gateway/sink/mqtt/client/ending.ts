/** How a connection to a broker came to its end, or why there was none: facts alone. */

export type Ending =
  /** CONNACK with a code. */
  | { readonly kind: 'refused'; readonly code: number; readonly reason: string | null }
  /** DISCONNECT of the broker (MQTT 5). */
  | { readonly kind: 'disconnected'; readonly code: number; readonly reason: string | null }
  /** What came is nothing that the protocol allows. */
  | { readonly kind: 'protocol'; readonly detail: string }
  /** The broker offers less than the configuration needs. */
  | { readonly kind: 'unfit'; readonly detail: string }
  | { readonly kind: 'closed' }
  | { readonly kind: 'network'; readonly error: unknown }
  /** Nothing came for so long. */
  | { readonly kind: 'silent'; readonly detail: string }
  /** By this side. */
  | { readonly kind: 'given-up' }

/** An attempt to connect that led to nothing. */
export class NotConnected extends Error {
  override readonly name = 'NotConnected'
  readonly ending: Ending

  constructor(ending: Ending) {
    super(`not connected: ${ending.kind}`)
    this.ending = ending
  }
}
