/**
 * A broker under a virtual clock on a disk in memory, over links in memory; it can be killed, and
 * started on what its commits made durable.
 */
import { Broker } from '../../../../gateway/broker/broker.ts'
import type { BrokerEvent } from '../../../../gateway/broker/events.ts'
import { mqttConfig } from '../../../support/configs.ts'
import { type DurableState, MemoryAppender } from '../../../support/memory-appender.ts'
import { LinkEnd } from '../../../support/memory-link.ts'
import type { Level } from '../../../support/mqtt-answers.ts'
import { RawMqtt } from '../../../support/raw-mqtt.ts'

/** `spare`: nobody publishes there; it may be full. */
const STREAMS = [
  { name: 'telemetry', topics: ['t/#'] },
  { name: 'spare', topics: ['spare/#'] },
]

export const LIMITS = {
  sessionExpiry: 3_600_000,
  maxUnackedMessages: 30,
  maxUnackedMessagesTotal: 150,
}

const CONFIG = mqttConfig({ ...LIMITS, listeners: [], maxConnections: 100, maxSessions: 100 })
const [LISTENER] = mqttConfig().listeners
const STOP_MS = 1_000

/** A connection, and when nothing of it is left in the gate. */
export interface Link {
  readonly client: RawMqtt
  readonly gone: Promise<unknown>
}

export class SimulatedGate {
  /** Monotonic, ms. */
  nowMs = 1_000
  /** What went wrong inside. */
  readonly faults: string[] = []
  #broker: Broker | null = null
  #appender = new MemoryAppender(STREAMS)
  readonly #ends = new Set<LinkEnd>()

  static async start(): Promise<SimulatedGate> {
    const gate = new SimulatedGate()
    await gate.#start()
    return gate
  }

  get grantedTotal(): number {
    return this.#broker?.stats.grantedReceiveMaximum ?? 0
  }

  /** On disk, in their order. */
  get payloads(): string[] {
    return this.#appender.payloads('telemetry')
  }

  /** Nothing becomes durable until `release`. */
  hold(): void {
    this.#appender.hold()
  }

  release(): void {
    this.#appender.release()
  }

  checkpoint(): void {
    this.#appender.checkpoint()
  }

  get isTight(): boolean {
    return this.#appender.isTight
  }

  set isTight(isTight: boolean) {
    this.#appender.setRoom('spare', isTight ? 0 : null)
  }

  link(level: Level): Link {
    const [end, far] = LinkEnd.pair()
    const gone = new Promise((resolve) => far.once('close', resolve))
    const client = RawMqtt.over(end, level)
    this.#ends.add(end)
    end.once('close', () => this.#ends.delete(end))
    const remoteAddress = '127.0.0.1'
    if (LISTENER === undefined) throw new Error('the default has no listener')
    const inbound = { stream: far, listener: LISTENER, remoteAddress, certificateSubject: null }
    this.#broker?.accept(inbound)
    return { client, gone }
  }

  /** What no commit made durable is lost, with all connections; the gate is down for so long. */
  async kill(downMs: number): Promise<void> {
    const state = this.#appender.crash()
    for (const end of this.#ends) end.destroy()
    await this.stop()
    this.nowMs += downMs
    await this.#start(state)
  }

  async stop(): Promise<void> {
    this.#appender.release()
    await this.#broker?.stop(STOP_MS)
  }

  async #start(state?: DurableState): Promise<void> {
    this.#appender = new MemoryAppender(STREAMS, state)
    let minted = 0
    this.#broker = await Broker.start({
      config: CONFIG,
      appender: this.#appender,
      emit: (event: BrokerEvent) => {
        if (event.type === 'broker.internal-error')
          this.faults.push(`${event.where}: ${event.detail}`)
        if (event.type === 'broker.sessions-damaged') this.faults.push(event.detail)
      },
      monotonicMs: () => this.nowMs,
      mintClientId: () => `minted-${++minted}`,
    })
  }
}
