/**
 * Two ends of a connection in memory, for tests that open more of them than sockets allow. An end
 * behaves as a
 * `net.Socket` does where the gateway can tell: `write` waits for the reader, `end` is a FIN, `destroy` is noticed by the
 * other end a turn later, `destroySoon` lets out what was written. Each write arrives as a chunk of
 * its own.
 */
import { Duplex } from 'node:stream'

type Callback = (error?: Error | null) => void

export class LinkEnd extends Duplex {
  #peer: LinkEnd | null = null
  /** A write of the peer that waits until this end reads on. */
  #waiting: Callback | null = null

  private constructor() {
    super({ allowHalfOpen: false, emitClose: true })
  }

  /** Both ends of a new link. */
  static pair(): [LinkEnd, LinkEnd] {
    const one = new LinkEnd()
    const other = new LinkEnd()
    one.#peer = other
    other.#peer = one
    return [one, other]
  }

  destroySoon(): void {
    if (this.writableFinished) this.destroy()
    else {
      this.once('finish', () => this.destroy())
      this.end()
    }
  }

  override _read(): void {
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    const peer = this.#peer
    // What is written to a connection that the other side has closed vanishes; the close follows.
    if (peer === null || peer.destroyed || peer.readableEnded || peer.push(chunk)) callback()
    else peer.#waiting = callback
  }

  override _final(callback: Callback): void {
    const peer = this.#peer
    if (peer !== null && !peer.destroyed && !peer.readableEnded) peer.push(null)
    callback()
  }

  override _destroy(error: Error | null, callback: Callback): void {
    const peer = this.#peer
    this.#peer = null
    const waiting = this.#waiting
    this.#waiting = null
    waiting?.()
    if (peer !== null) setImmediate(() => peer.destroy())
    callback(error)
  }
}
