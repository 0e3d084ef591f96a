/**
 * The socket of a connection as the gate uses it: reading on and off, writes counted against what
 * the peer takes, and an end that lets last bytes out. Knows nothing of MQTT. Works on any Duplex
 * with or without `destroySoon`.
 */
import type { Duplex } from 'node:stream'
import { CLOSE_GRACE_MS } from '../limits.ts'

export class Transport {
  readonly #stream: Duplex
  #isOpen = true
  #isGone = false
  #isReading = true
  #sentBytes = 0
  #takenBytes = 0
  #unreadSinceMs: number | null = null

  constructor(stream: Duplex) {
    this.#stream = stream
    // 'close' follows; what went wrong with a socket is not worth more than "connection-lost".
    stream.on('error', () => {})
    stream.once('close', () => {
      this.#isOpen = false
      this.#isGone = true
    })
  }

  /** Nothing reaches the peer any more. */
  get isGone(): boolean {
    return this.#isGone
  }

  get isReading(): boolean {
    return this.#isReading
  }

  /** Bytes that the socket has not handed to the operating system. */
  get backlog(): number {
    return this.#stream.writableLength
  }

  /** Writes whole frames. Gone sockets swallow them. */
  send(bytes: Uint8Array): void {
    if (!this.#isOpen || this.#stream.destroyed || this.#stream.writableEnded) return
    this.#sentBytes += bytes.length
    this.#stream.write(bytes)
  }

  read(isOn: boolean): void {
    if (isOn === this.#isReading || !this.#isOpen) return
    this.#isReading = isOn
    if (isOn) this.#stream.resume()
    else this.#stream.pause()
  }

  /**
   * Since when the peer takes nothing of what waits for it; null: nothing waits. Call at each
   * sweep.
   */
  unreadSince(now: number): number | null {
    const backlog = this.backlog
    const taken = this.#sentBytes - backlog
    if (backlog === 0) this.#unreadSinceMs = null
    else if (this.#unreadSinceMs === null || taken > this.#takenBytes) this.#unreadSinceMs = now
    this.#takenBytes = taken
    return this.#unreadSinceMs
  }

  /**
   * Lets out what was sent, then closes; by force after a moment. What still comes in is thrown
   * away.
   */
  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    const stream = this.#stream as Duplex & { destroySoon?: () => void }
    if (stream.destroyed) return
    // Unread input would turn the close into a reset, which takes the last bytes with it.
    stream.resume()
    if (typeof stream.destroySoon === 'function') stream.destroySoon()
    else stream.end(() => stream.destroy())
    setTimeout(() => stream.destroy(), CLOSE_GRACE_MS).unref()
  }
}
