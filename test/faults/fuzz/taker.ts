/**
 * Cuts what a server sends into whole frames and lets a test wait for more of them. What a frame
 * means, and which may come, says the taker of each version.
 */
import type { Duplex } from 'node:stream'

const WAIT_MS = 20_000

export abstract class Taker {
  isClosed = false
  /** What no server may send. */
  fault: Error | null = null
  #pending: Buffer = Buffer.alloc(0)
  #wake: (() => void) | null = null

  constructor(end: Duplex) {
    end.on('data', (chunk: Buffer) => {
      this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
      try {
        this.#cut()
      } catch (error) {
        this.fault ??= error as Error
      }
      this.#wake?.()
    })
    end.on('error', () => {})
    end.once('close', () => {
      this.isClosed = true
      this.#wake?.()
    })
  }

  /** One whole frame; `body`: behind its fixed header. @throws if no server may send it now */
  protected abstract take(bytes: Buffer, body: Buffer): void

  /** Until `isDone` says so, asked again with all that comes. @throws if it does not in time */
  protected async waitUntil(isDone: () => boolean, describe: () => string): Promise<void> {
    const endMs = performance.now() + WAIT_MS
    while (!isDone()) {
      const leftMs = endMs - performance.now()
      if (leftMs <= 0) throw new Error(`did not come: ${describe()}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
  }

  #cut(): void {
    let bytes = this.#pending
    for (;;) {
      const size = sizeOf(bytes)
      const end = size === null ? Number.POSITIVE_INFINITY : size.start + size.length
      if (size === null || bytes.length < end) break
      this.take(bytes.subarray(0, end), bytes.subarray(size.start, end))
      bytes = bytes.subarray(end)
    }
    this.#pending = bytes.length === 0 ? Buffer.alloc(0) : Buffer.from(bytes)
  }
}

function sizeOf(bytes: Buffer): { readonly start: number; readonly length: number } | null {
  let length = 0
  for (let at = 1; at < 5; at += 1) {
    if (at >= bytes.length) return null
    const byte = bytes[at]!
    length += (byte & 127) * 128 ** (at - 1)
    if (byte < 128) return { start: at + 1, length }
  }
  throw new Error('a server sent a length of more than four bytes')
}
