/**
 * Connections of one listener that are not MQTT streams yet: each has `connectTimeout` until it is
 * one, and those that fail are counted and told, once each.
 */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent, HandshakeFailure } from '../events.ts'
import type { ListenerStats } from '../stats.ts'

/** Where a connection comes from: as its socket says, or the proxy in front of it. */
export interface ClientOrigin {
  readonly address: string
  /** Common name in the client's certificate, which the proxy has verified; null: none. */
  readonly certificateSubject: string | null
}

interface Handshake {
  readonly socket: Socket
  readonly timer: NodeJS.Timeout
  origin: ClientOrigin
  /** Reported; what the servers say while the socket goes down is an echo. */
  failed: boolean
}

interface HandshakeParts {
  readonly listener: string
  /** As it is when one begins. */
  readonly timeoutMs: () => number
  readonly stats: ListenerStats
  readonly damper: EventDamper
  readonly emit: EmitBrokerEvent
}

export class Handshakes {
  readonly #parts: HandshakeParts
  /**
   * By remote address and port: TLS and HTTP servers hand out other objects than the socket they
   * were given.
   */
  readonly #open = new Map<string, Handshake>()

  constructor(parts: HandshakeParts) {
    this.#parts = parts
  }

  /** From here on the connection has its time; when it is a stream, the gate has its own timer. */
  begin(socket: Socket): void {
    const peer = peerOf(socket)
    if (this.#open.get(peer)?.socket === socket) return
    const origin = { address: socket.remoteAddress ?? '', certificateSubject: null }
    const timer = setTimeout(() => {
      this.fail(socket, 'timeout', 'the handshake took too long')
      socket.destroy()
    }, this.#parts.timeoutMs())
    this.#open.set(peer, { socket, timer, origin, failed: false })
    socket.once('close', () => {
      if (this.#open.get(peer)?.socket === socket) this.#end(peer)
    })
  }

  /** A proxy said where it comes from. */
  setOrigin(socket: Socket, origin: ClientOrigin): void {
    const handshake = this.#open.get(peerOf(socket))
    if (handshake !== undefined) handshake.origin = origin
  }

  /** It is an MQTT stream. null: it was one from its first byte on. */
  done(socket: Socket): ClientOrigin | null {
    const peer = peerOf(socket)
    const origin = this.#open.get(peer)?.origin ?? null
    this.#end(peer)
    return origin
  }

  /** The timer goes on: it ends a socket that does not go down by itself. */
  fail(socket: Duplex, kind: HandshakeFailure, message: string): void {
    const { listener, stats, damper, emit } = this.#parts
    const handshake = this.#open.get(peerOf(socket as Socket))
    if (handshake === undefined || handshake.failed) return
    handshake.failed = true
    stats.handshakesFailed += 1
    const { address } = handshake.origin
    const suppressed = damper.pass(`${kind} ${address}`)
    if (suppressed === null) return
    emit({ type: 'broker.handshake-failed', kind, listener, address, message, suppressed })
  }

  /** The listener stops: none of them becomes a stream. */
  abandon(): void {
    for (const handshake of this.#open.values()) {
      handshake.failed = true
      handshake.socket.destroy()
    }
  }

  #end(peer: string): void {
    const handshake = this.#open.get(peer)
    if (handshake === undefined) return
    clearTimeout(handshake.timer)
    this.#open.delete(peer)
  }
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}
