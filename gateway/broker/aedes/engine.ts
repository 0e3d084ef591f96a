/**
 * aedes 1.2 as the engine behind the desk of the local subscribers: subscriptions are made with it,
 * and each message for them is published through it. The only file that creates it.
 *
 * No client is connected to it: its clients are subscribers of the desk, which sends the copies and
 * keeps their order, their bounds and what is stored for sessions. So aedes' own sessions, retained
 * messages and wills are not in use, and messages are published at QoS 0 without RETAIN: that way
 * aedes hands them over in the same moment, and in order. (At QoS 1 it asks its persistence first,
 * and messages overtake each other.)
 *
 * Notices of aedes to itself and to other brokers under `$SYS` reach no subscriber: the desk takes
 * only what it has published itself.
 */
import { Aedes } from 'aedes'
import type { Reports } from '../reports.ts'
import type { LocalListener, LocalMq } from './local-mq.ts'

/** 5.8 days: it is for other brokers on one store, and there are none. aedes multiplies it by 4 for a timer, which must stay below 2^31 ms. */
const HEARTBEAT_INTERVAL_MS = 500_000_000

/** Levels of a filter: aedes knows no more. */
export const MAX_AEDES_LEVELS = 100

/** Nothing is kept here: the desk does. aedes checks that `setup` is an async function. */
const NO_PERSISTENCE = {
  setup: async (): Promise<void> => Promise.resolve(),
}

export class AedesEngine {
  readonly #aedes: Aedes

  private constructor(aedes: Aedes) {
    this.#aedes = aedes
  }

  static async create(mq: LocalMq, reports: Pick<Reports, 'fault'>): Promise<AedesEngine> {
    const options = {
      mq,
      persistence: NO_PERSISTENCE,
      heartbeatInterval: HEARTBEAT_INTERVAL_MS,
      maxTopicLevels: MAX_AEDES_LEVELS,
    }
    const aedes = await Aedes.createBroker(options)
    aedes.on('error' as never, ((error: unknown) => reports.fault('aedes', error)) as never)
    return new AedesEngine(aedes)
  }

  subscribe(filter: string, listener: LocalListener): void {
    this.#aedes.subscribe(filter, listener as never, noop)
  }

  unsubscribe(filter: string, listener: LocalListener): void {
    this.#aedes.unsubscribe(filter, listener as never, noop)
  }

  /** Calls the listeners of every filter that takes the topic, before it returns. */
  publish(topic: string, payload: Buffer): void {
    const packet = { cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false } as const
    this.#aedes.publish(packet, noop)
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#aedes.close(() => resolve()))
  }
}

function noop(): void {}
