/** A connection that a listener hands over: a stream of MQTT bytes, and where it comes from. */
import type { Duplex } from 'node:stream'
import type { ListenerConfig } from '../config.ts'

export interface Inbound {
  /**
   * Bytes of MQTT. A `net.Socket`, a `tls.TLSSocket` or a WebSocketDuplex; all have
   * `destroySoon()`.
   */
  readonly stream: Duplex
  readonly listener: ListenerConfig
  readonly remoteAddress: string
  /** Common name of the client's verified certificate; null without one. */
  readonly certificateSubject: string | null
}
