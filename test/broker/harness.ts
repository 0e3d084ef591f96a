/** A broker on a free port with an in-memory spool, for the tests of the gate. */
import { Broker } from '../../gateway/broker/broker.ts'
import type { MqttConfig } from '../../gateway/broker/config.ts'
import type { BrokerEvent } from '../../gateway/broker/events.ts'
import { mqttConfig } from '../support/configs.ts'
import { type DurableState, MemoryAppender, type StreamSpec } from '../support/memory-appender.ts'

export const DEFAULTS = mqttConfig({
  maxConnections: 1_000,
  maxSessions: 1_000,
  sessionExpiry: 86_400_000,
})

export const STREAMS: readonly StreamSpec[] = [
  { name: 'telemetry', topics: ['t/#'] },
  { name: 'alarms', topics: ['a/#', 'both/#'] },
  { name: 'audit', topics: ['both/#', 'u/#'] },
]

export interface Rig {
  readonly broker: Broker
  readonly appender: MemoryAppender
  readonly events: BrokerEvent[]
  readonly port: number
  eventsOf<T extends BrokerEvent['type']>(type: T): Extract<BrokerEvent, { type: T }>[]
  stop(): Promise<void>
}

/** `state`: what an earlier one left on disk. Stop it with {@link stopRigs} or by itself. */
export async function startRig(
  overrides: Partial<MqttConfig> = {},
  state?: DurableState,
  options: Partial<Parameters<typeof Broker.start>[0]> = {},
  streams: readonly StreamSpec[] = STREAMS,
): Promise<Rig> {
  const appender = new MemoryAppender(streams, state)
  const events: BrokerEvent[] = []
  const broker = await Broker.start({
    config: { ...DEFAULTS, ...overrides },
    appender,
    emit: (event) => events.push(event),
    ...options,
  })
  const rig: Rig = {
    broker,
    appender,
    events,
    port: broker.addresses[0]!.port,
    eventsOf: <T extends BrokerEvent['type']>(type: T) =>
      events.filter((event) => event.type === type) as unknown as Extract<
        BrokerEvent,
        { type: T }
      >[],
    stop: async () => {
      running.delete(rig)
      appender.release()
      await broker.stop(3_000)
    },
  }
  running.add(rig)
  return rig
}

const running = new Set<Rig>()

/** For `afterEach`: ends what a test left, and fails if the broker met an error of its own. */
export async function stopRigs(): Promise<void> {
  const rigs = [...running]
  await Promise.all(rigs.map((rig) => rig.stop()))
  for (const rig of rigs) {
    const faults = rig.eventsOf('broker.internal-error')
    if (faults.length > 0)
      throw new Error(faults.map(({ where, detail }) => `${where}: ${detail}`).join('\n'))
  }
}

/** Waits for a condition by turns of the event loop. */
export async function eventually(
  condition: () => boolean,
  what: string,
  timeoutMs = 10_000,
): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`did not happen in ${timeoutMs} ms: ${what}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 2)
    })
  }
}
