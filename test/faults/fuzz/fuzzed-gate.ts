/**
 * A broker on an Appender in memory reached two ways, real sockets and links in memory, and two
 * well-behaved clients on it: one that publishes and checks each ack, one that subscribes to what
 * the first one says. Its clock stands still unless told otherwise, so that no time-out of a slow
 * machine is taken for a verdict.
 */
import { once } from 'node:events'
import { createConnection } from 'node:net'
import type { Duplex } from 'node:stream'
import { Broker } from '../../../gateway/broker/broker.ts'
import type { ListenerConfig, MqttConfig } from '../../../gateway/broker/config.ts'
import type { BrokerEvent } from '../../../gateway/broker/events.ts'
import { mqttConfig } from '../../support/configs.ts'
import { MemoryAppender } from '../../support/memory-appender.ts'
import { LinkEnd } from '../../support/memory-link.ts'
import { packet } from '../../support/raw-mqtt.ts'
import { FrameTaker } from './frame-taker.ts'
import type { JudgeLimits } from './judge.ts'

const LISTENER: ListenerConfig = {
  host: '127.0.0.1',
  port: 0,
  tls: null,
  websocket: false,
  proxyProtocol: null,
}

export const LIMITS: JudgeLimits = {
  maxPacketBytes: 4_096,
  maxConnectPacketBytes: 1_500,
  maxTopicBytes: 1_024,
  maxTopicLevels: 32,
  maxClientIdBytes: 1_024,
}

const CONFIG = mqttConfig({
  ...LIMITS,
  // More than a batch has: a client that acknowledges nothing would hold up the others until it is
  // ended, which takes a clock that goes.
  maxSubscriberMessages: 60_000,
  maxSubscriberBytes: 64 * 1024 * 1024,
  maxSubscriberBytesTotal: 256 * 1024 * 1024,
  listeners: [LISTENER],
  maxConnections: 1_000,
  maxSessions: 1_000,
  sessionExpiry: 86_400_000,
})

const STREAMS = [
  { name: 'telemetry', topics: ['t/#'] },
  { name: 'alarms', topics: ['a/#', 'both/#'] },
  { name: 'audit', topics: ['both/#', 'u/#'] },
]

export type Transport = 'memory' | 'tcp'

export class FuzzedGate {
  readonly broker: Broker
  readonly appender: MemoryAppender
  readonly bystander: Bystander
  readonly watcher: Watcher
  /** Of the gate's clock, monotonic ms. Turn it by less than two seconds at a time. */
  readonly #clock: { nowMs: number }
  readonly #faults: string[]

  private constructor(parts: {
    readonly broker: Broker
    readonly appender: MemoryAppender
    readonly clock: { nowMs: number }
    readonly faults: string[]
    readonly ends: readonly [Duplex, Duplex]
  }) {
    this.broker = parts.broker
    this.appender = parts.appender
    this.#clock = parts.clock
    this.#faults = parts.faults
    this.bystander = new Bystander(parts.ends[0])
    this.watcher = new Watcher(parts.ends[1])
  }

  /** `overrides`: of the gate's limits. */
  static async start(overrides: Partial<MqttConfig> = {}): Promise<FuzzedGate> {
    const appender = new MemoryAppender(STREAMS)
    const clock = { nowMs: 1_000 }
    const faults: string[] = []
    let minted = 0
    const broker = await Broker.start({
      config: { ...CONFIG, ...overrides },
      appender,
      emit: (event: BrokerEvent) => {
        if (event.type === 'broker.internal-error') faults.push(`${event.where}: ${event.detail}`)
      },
      monotonicMs: () => clock.nowMs,
      mintClientId: () => `minted-${++minted}`,
    })
    const ends = [memoryClient(broker), memoryClient(broker)] as const
    const gate = new FuzzedGate({ broker, appender, clock, faults, ends })
    await gate.watcher.begin()
    await gate.bystander.begin()
    return gate
  }

  /** A new connection, and when the gateway's end of it is gone; over TCP that is not known. */
  async connect(
    transport: Transport,
  ): Promise<{ readonly end: Duplex; readonly farEndGone: Promise<unknown> | null }> {
    if (transport === 'memory') {
      const [end, far] = LinkEnd.pair()
      end.on('error', () => {})
      const farEndGone = new Promise((resolve) => far.once('close', resolve))
      accept(this.broker, far)
      return { end, farEndGone }
    }
    const { port } = this.broker.addresses[0]!
    const end = createConnection({ port, host: '127.0.0.1', noDelay: true })
    end.on('error', () => {})
    await once(end, 'connect')
    return { end, farEndGone: null }
  }

  turnClock(ms: number): void {
    this.#clock.nowMs += ms
  }

  /** What went wrong inside the broker since the last call. */
  takeFaults(): string[] {
    return this.#faults.splice(0)
  }

  async stop(): Promise<void> {
    this.appender.release()
    await this.broker.stop(3_000)
  }
}

function memoryClient(broker: Broker): Duplex {
  const [end, far] = LinkEnd.pair()
  end.on('error', () => {})
  accept(broker, far)
  return end
}

function accept(broker: Broker, stream: Duplex): void {
  const remoteAddress = '127.0.0.1'
  broker.accept({ stream, listener: LISTENER, remoteAddress, certificateSubject: null })
}

export const BYSTANDER = 'bystander'
const BYSTANDER_TOPIC = 't/bystander'

/** Publishes at QoS 1 and 2 in turn; every ack has to come, and in order. */
export class Bystander {
  readonly taker: FrameTaker
  readonly #end: Duplex
  #published = 0
  #acked = 0

  constructor(end: Duplex) {
    this.#end = end
    this.taker = new FrameTaker(end)
  }

  get published(): number {
    return this.#published
  }

  async begin(): Promise<void> {
    this.#end.write(packet.connect({ clientId: BYSTANDER }))
    await this.taker.until('CONNACK of the bystander', () => this.taker.connack !== null)
  }

  /** @throws when an ack is missing, strange or out of order, or the connection is gone */
  async publish(count: number): Promise<void> {
    for (let left = count; left > 0; left -= 1) {
      const n = ++this.#published
      const id = 1 + (n % 60_000)
      const qos = n % 2 === 0 ? 1 : 2
      const expected = [`${qos === 1 ? '40' : '50'} ${id}`]
      this.#end.write(packet.publish(BYSTANDER_TOPIC, String(n), { qos, id }))
      await this.taker.until(
        `the ack of the bystander's message ${n}`,
        () => this.taker.acks.length > 0,
      )
      const acks = this.taker.acks.splice(0)
      if (acks.join() !== expected.join())
        throw new Error(`the bystander got acks ${acks.join()}, not ${expected.join()}`)
      this.#acked += 1
      if (qos === 1) continue
      this.#end.write(packet.pubrel(id))
      await this.taker.until('PUBCOMP of the bystander', () => this.taker.completions.length > 0)
      const completions = this.taker.completions.splice(0)
      if (completions.join() !== String(id))
        throw new Error(`the bystander got PUBCOMP ${completions.join()}, not ${id}`)
    }
  }

  get acked(): number {
    return this.#acked
  }
}

/**
 * Has a subscription at QoS 1 to what the bystander says; every copy has to come, once, and in
 * order.
 */
export class Watcher {
  readonly taker: FrameTaker
  readonly #end: Duplex
  seen = 0

  constructor(end: Duplex) {
    this.#end = end
    this.taker = new FrameTaker(end, (topic, payload, id) => {
      this.seen += 1
      if (topic !== BYSTANDER_TOPIC || payload !== String(this.seen)) {
        throw new Error(`the subscriber got ${topic} ${payload}, not message ${this.seen}`)
      }
      if (id > 0) this.#end.write(packet.ack(0x40, id))
    })
  }

  async begin(): Promise<void> {
    this.#end.write(packet.connect({ clientId: 'watcher' }))
    this.#end.write(packet.subscribe(1, [[BYSTANDER_TOPIC, 1]]))
    await this.taker.until('SUBACK of the subscriber', () => this.taker.subscriptions.length > 0)
  }
}
