/**
 * One stream's producer: its connections, its number at the brokers, its sequences. A repeat inside
 * the client has the sequence of the first try, and a broker drops it; after a failure the producer
 * is given up with all its connections, and the next try begins with another one: that one may
 * bring the batch a second time. One batch at a time.
 *
 * Not here: what a failure means (answers.ts), when the batch comes again (the drain).
 */
import type { Socket } from 'node:net'
import type { Shown } from './credentials.ts'
import type { EncodedBatch } from './encode.ts'
import {
  type KafkaLibrary,
  type KafkaMetadata,
  type KafkaProducer,
  type ProducerOptions,
} from './library.ts'

/** Repeats inside the client: of a connection that broke, a leader that moved. */
const RETRIES = 2
const RETRY_DELAY_MS = 100

interface SessionOptions {
  readonly brokers: readonly string[]
  readonly clientId: string
  readonly compression: string
  readonly connectTimeout: number
  readonly timeout: number
}

export class ProducerSession {
  readonly #library: KafkaLibrary
  readonly #options: SessionOptions
  #producer: KafkaProducer | null = null
  readonly #sockets = new Set<Socket>()
  /** Of sockets that are gone. */
  #formerBytes = 0

  constructor(library: KafkaLibrary, options: SessionOptions) {
    this.#library = library
    this.#options = options
  }

  /** Is there a connection that was not lost? */
  get isConnected(): boolean {
    return [...this.#sockets].some(({ readyState }) => readyState === 'open')
  }

  /** Handed to the network and taken by it, of all connections, ever. */
  get takenBytes(): number {
    this.#countSockets()
    let bytes = this.#formerBytes
    for (const { bytesWritten, writableLength } of this.#sockets)
      bytes += bytesWritten - writableLength
    return bytes
  }

  /** Everything that comes before the first byte of a batch. Rejects with the client's errors. */
  async prepare(shown: Shown, topics: readonly string[]): Promise<KafkaMetadata> {
    if (this.#producer === null) {
      const producer = new this.#library.Producer(this.#producerOptions(shown))
      this.#producer = producer
      producer.connections.on('connecting', ({ connection }) => {
        // What happens to it is told to those who wait for an answer; unheard it would end the process.
        connection.on('error', () => undefined)
      })
      await producer.initIdempotentProducer({})
    }
    return await this.#open().metadata({ topics: [...topics] })
  }

  /** Resolves when every in-sync replica of every partition has its part. */
  async send(messages: EncodedBatch['messages']): Promise<void> {
    await this.#open().send({ messages, idempotent: true, acks: -1 })
  }

  /** Ends all connections at once; what waits for an answer gets none. */
  discard(): void {
    const producer = this.#producer
    if (producer === null) return
    this.#producer = null
    this.#countSockets(producer)
    for (const socket of this.#sockets) socket.destroy()
    producer.close(true).catch(() => undefined)
  }

  #open(): KafkaProducer {
    if (this.#producer === null) throw new Error('given up')
    return this.#producer
  }

  #countSockets(producer = this.#producer): void {
    for (const [, { socket }] of producer?.connections ?? [])
      if (socket !== undefined) this.#sockets.add(socket)
    for (const socket of this.#sockets) {
      if (!socket.destroyed) continue
      this.#formerBytes += socket.bytesWritten - socket.writableLength
      this.#sockets.delete(socket)
    }
  }

  #producerOptions(shown: Shown): ProducerOptions {
    const { brokers, clientId, compression, connectTimeout, timeout } = this.#options
    return {
      clientId,
      bootstrapBrokers: brokers,
      idempotent: true,
      producerId: -1n,
      producerEpoch: -1,
      compression,
      connectTimeout,
      requestTimeout: Math.max(connectTimeout, timeout),
      timeout,
      retries: RETRIES,
      retryDelay: RETRY_DELAY_MS,
      ...shown,
    }
  }
}
