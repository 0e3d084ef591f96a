/**
 * The socket of a connection as the gate uses it: reading on and off, writes counted against what
 * the peer takes, and an end that lets last bytes out. Knows nothing of MQTT. Works on any Duplex
 * with or without `destroySoon`.
 */
import type { Duplex } from 'node:stream'
import { CLOSE_GRACE_MS, MAX_DISCARDED_BYTES } from '../limits.ts'

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
   * Lets out what was sent, then closes; by force after a moment. `readsOn`: the peer may still be
   * sending. Bytes that nobody reads would turn the close into a reset, which takes what was sent
   * last with it; so only our half is closed, and what comes in is thrown away until the peer
   * closes its half, or has sent too much.
   */
  close(readsOn: boolean): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    const stream = this.#stream as Duplex & { destroySoon?: () => void }
    if (stream.destroyed) return
    const timer = setTimeout(() => stream.destroy(), CLOSE_GRACE_MS).unref()
    stream.once('close', () => clearTimeout(timer))
    stream.resume()
    if (readsOn) {
      this.#discard()
      stream.end()
    } else if (typeof stream.destroySoon === 'function') stream.destroySoon()
    else stream.end(() => stream.destroy())
  }

  #discard(): void {
    let bytes = 0
    this.#stream.on('data', (chunk: Uint8Array) => {
      bytes += chunk.length
      if (bytes > MAX_DISCARDED_BYTES) this.#stream.destroy()
    })
  }
}
