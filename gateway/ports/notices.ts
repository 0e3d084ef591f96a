/**
 * What gateways of one cluster tell each other while they run: a few bytes that may be lost, late,
 * or never sent. Nothing of the spool depends on them. The broker needs it, a type of sink whose
 * servers can carry such bytes brings it.
 */

export interface NoticeBus {
  /** It can send and receive now. */
  readonly isConnected: boolean
  /** Why it cannot; null: it can, or has not tried yet. */
  readonly detail: string | null
  /** False: there is no connection now, and the bytes are not kept for a later one. */
  send(bytes: Uint8Array): boolean
  /** Bytes that any gateway sent, this one included. One listener; the last one counts. */
  onReceived(listener: (bytes: Uint8Array) => void): void
  /** It can send from now on: each time, the first one included. One listener, as above. */
  onConnected(listener: () => void): void
  close(): void
}
