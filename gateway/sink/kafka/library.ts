/**
 * What the sink needs of `@platformatic/kafka`, as types of its own: the package is optional, and is
 * not there when the gateway is built.
 */
import type { Socket } from 'node:net'
import type { SecureContext } from 'node:tls'
import { OptionalPackage } from '../optional-package.ts'

export interface KafkaMessage {
  readonly topic: string
  readonly key: Buffer
  readonly value: Buffer
  readonly headers: ReadonlyMap<Buffer, Buffer>
  /** ms since the epoch. */
  readonly timestamp: bigint
}

interface KafkaConnection {
  readonly socket: Socket | undefined
  on(event: 'error', listener: () => void): unknown
}

interface KafkaConnections extends Iterable<readonly [string, KafkaConnection]> {
  on(event: 'connecting', listener: (opened: { connection: KafkaConnection }) => void): unknown
}

export interface KafkaTopic {
  readonly partitions: ReadonlyArray<{
    readonly replicas: readonly number[]
    readonly isr: readonly number[]
  }>
}

export interface KafkaMetadata {
  readonly brokers: ReadonlyMap<number, unknown>
  readonly topics: ReadonlyMap<string, KafkaTopic | undefined>
}

export interface KafkaProducer {
  readonly connections: KafkaConnections
  initIdempotentProducer(options: object): Promise<unknown>
  metadata(options: { readonly topics: string[] }): Promise<KafkaMetadata>
  send(options: {
    readonly messages: readonly KafkaMessage[]
    readonly idempotent: true
    readonly acks: -1
  }): Promise<unknown>
  close(force: boolean): Promise<unknown>
}

export type SaslMechanism = 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'

export interface ProducerOptions {
  readonly clientId: string
  readonly bootstrapBrokers: readonly string[]
  readonly idempotent: true
  /** -1 asks for a new one, as the protocol has it; the library's own 0 is another producer's. */
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly compression: string
  readonly connectTimeout: number
  readonly requestTimeout: number
  /** How long a broker waits for its replicas. */
  readonly timeout: number
  readonly retries: number
  readonly retryDelay: number
  readonly tls?: { readonly secureContext: SecureContext }
  readonly tlsServerName?: true
  readonly sasl?: {
    readonly mechanism: SaslMechanism
    readonly username: string
    readonly password: string
  }
}

export interface KafkaLibrary {
  readonly Producer: new (options: ProducerOptions) => KafkaProducer
}

export const kafkaLibrary = new OptionalPackage<KafkaLibrary>({
  name: '@platformatic/kafka',
  version: '2.12.1',
  node: '22.22',
})
