/**
 * A WebSocket as a byte stream for MQTT (MQTT 3.1.1, section 6): binary messages only
 * [MQTT-6.0.0-1], their borders mean nothing [MQTT-6.0.0-2]. Back-pressure goes both ways: a reader
 * that stops pauses the socket, and a write is done when the socket took its bytes. Text messages,
 * messages over the limit and broken frames end it with an error.
 *
 * A message is held in memory until it is complete, so its size is bounded, tightly until the first
 * byte went out: that is CONNACK, and before it anybody may be talking.
 */
import { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'

/** How long the other side may take to answer a close frame, ms. */
export const WEBSOCKET_CLOSE_TIMEOUT_MS = 1_000

/** RFC 6455, section 7.4.1: a type of data that cannot be accepted. */
const UNSUPPORTED_DATA = 1003
const NORMAL_CLOSURE = 1000

/** Small writes that wait together leave in one message; larger ones are not worth a copy. */
const MAX_COALESCED_BYTES = 64 * 1024

export class WebSocketDuplex extends Duplex {
  readonly #socket: WebSocket
  #maxMessageBytes: number | null

  /**
   * `maxMessageBytes`: the limit after the first write; until then the server's own, smaller one holds.
   */
  constructor(socket: WebSocket, maxMessageBytes: number) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    this.#maxMessageBytes = maxMessageBytes
    socket.binaryType = 'nodebuffer'
    socket.on('message', (data: Buffer, isBinary) => {
      if (this.destroyed) return
      if (!isBinary) this.#refuseText()
      else if (!this.push(data)) socket.pause()
    })
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => {
      if (this.destroyed || this.readableEnded) this.destroy()
      else this.push(null)
    })
  }

  /** As of `net.Socket`: what was written leaves, then the stream is destroyed. */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  override _read(): void {
    if (this.#socket.isPaused) this.#socket.resume()
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    this.#liftLimit()
    this.#socket.send(chunk, { binary: true }, done)
  }

  override _writev(
    chunks: readonly { chunk: Buffer; encoding: BufferEncoding }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#liftLimit()
    let bytes = 0
    for (const { chunk } of chunks) bytes += chunk.length
    if (bytes <= MAX_COALESCED_BYTES) {
      this.#socket.send(Buffer.concat(chunks.map(({ chunk }) => chunk)), { binary: true }, done)
      return
    }
    for (const [index, { chunk }] of chunks.entries()) {
      this.#socket.send(chunk, { binary: true }, index === chunks.length - 1 ? done : undefined)
    }
  }

  /**
   * The server closes after what it wrote; the socket goes when the answer came, or after the close
   * timeout.
   */
  override _final(done: (error?: Error | null) => void): void {
    this.#socket.close(NORMAL_CLOSURE)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const socket = this.#socket
    // A paused socket never sees the answer to its close frame.
    if (socket.isPaused) socket.resume()
    // With a close frame under way (a normal end, or the reason of an error), ws ends the socket
    // after its timeout.
    if (socket.readyState !== socket.CLOSING) socket.terminate()
    done(error)
  }

  #refuseText(): void {
    this.#socket.close(UNSUPPORTED_DATA, 'MQTT needs binary messages')
    this.destroy(new Error('a text message came; MQTT over WebSocket is binary [MQTT-6.0.0-1]'))
  }

  #liftLimit(): void {
    if (this.#maxMessageBytes === null) return
    setMaxMessageBytes(this.#socket, this.#maxMessageBytes)
    this.#maxMessageBytes = null
  }
}

/** ws has no public way to change the limit of one connection. A test holds on to this member. */
function setMaxMessageBytes(socket: WebSocket, bytes: number): void {
  const { _receiver: receiver } = socket as unknown as { _receiver?: { _maxPayload?: number } }
  if (receiver?._maxPayload !== undefined) receiver._maxPayload = bytes
}
