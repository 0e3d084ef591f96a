/**
 * As many messages as each system acknowledges: Sluice beside its peers in turn, and what full load
 * costs it.
 */
import { acked, against, type Compared, delivered, inTurn, type Load, values } from '../beside.ts'
import { canCompilePublisher } from '../compiled-publisher.ts'
import { type Goal, judged, notMeasured } from '../goals.ts'
import { type Group, type Settings, withSystem } from '../group.ts'
import { type LoadFigures, measureLoad } from '../load.ts'
import { findPeers, type Peer, storedBytes } from '../peers.ts'
import type { Shape } from '../readings.ts'
import { spread } from '../statistics.ts'
import { startSluice } from '../systems.ts'

/**
 * Of its payload bytes, what a peer must have in its files for its acks to mean that it stored the
 * messages.
 */
const MIN_STORED_SHARE = 0.5

async function besideMosquitto(settings: Settings, peer: Peer): Promise<Goal[]> {
  const goals: Goal[] = []
  const compare = async (load: Load): Promise<Compared> => inTurn(settings, load, peer)
  for (const shape of ['models', 'channels'] as const) {
    const of = shape === 'models' ? '' : ', readings of eight channels'
    const at20 = await compare({ qos: 1, window: 20, shape })
    const at100 = await compare({ qos: 1, window: 100, shape })
    const qos2 = await compare({ qos: 2, window: 20, shape })
    goals.push(
      against(`QoS 1 acks, 20 in flight, against Mosquitto${of}`, 1.3, at20, acked),
      against(`QoS 1 acks, 100 in flight, against Mosquitto${of}`, 1.8, at100, acked),
      against(`QoS 2 completed, 20 in flight, against Mosquitto${of}`, 1, qos2, acked),
      against(
        `QoS 1 acked and delivered, 20 in flight, against the acks of Mosquitto${of}`,
        1,
        at20,
        delivered,
        acked,
      ),
      ...costs(at20.mine, at100.mine, shape),
    )
  }
  return goals
}

/** Network bytes per payload byte. */
const MAX_NETWORK_SHARE: Readonly<Record<Shape, number>> = { models: 0.3, channels: 0.5 }

function costs(at20: readonly LoadFigures[], at100: readonly LoadFigures[], shape: Shape): Goal[] {
  const network = judged(
    {
      measure: `network bytes per payload byte, full load, readings: ${shape}`,
      atMost: MAX_NETWORK_SHARE[shape],
      unit: '',
    },
    values([...at20, ...at100], (f) => f.networkBytesPerPayloadByte),
  )
  if (shape === 'channels') return [network]
  return [
    network,
    judged(
      {
        measure: 'disk bytes per payload byte, full load (100 in flight), drained',
        atMost: 0.6,
        unit: '',
        note: `whole block device ${spread(
          values(at100, (f) => f.deviceBytesPerPayloadByte),
          2,
        )}`,
      },
      at100.map((f) => f.diskBytesPerPayloadByte),
    ),
    judged(
      {
        measure: 'RssAnon at full load',
        atMost: 220,
        unit: 'MB',
        digits: 0,
        note: `the most of both loads; VmRSS ${spread([...at20, ...at100].map((f) => f.rssMb))} MB`,
      },
      [...at20, ...at100].map((f) => f.rssAnonMb),
    ),
  ]
}

/** A peer that keeps messages on disk: its acks count only if its files grew. */
async function besideStore(settings: Settings, peer: Peer, atLeast: number): Promise<Goal> {
  const load = { qos: 1, window: 20, shape: 'models' } as const
  const compared = await inTurn(settings, load, peer, async (system, loaded) => {
    if (system.name !== peer.name) return
    const share = storedBytes(system.folder) / (loaded.messages * loaded.payloadBytes)
    settings.say(`  ${peer.name} holds ${share.toFixed(2)} bytes per payload byte in its files`)
    if (share < MIN_STORED_SHARE) throw new Error(`${peer.name} acknowledges without storing`)
  })
  return against(`QoS 1 acks, 20 in flight, against ${peer.name}`, atLeast, compared, acked)
}

/** What one commit more or less in the measured time makes. */
const MAX_PUBLISHER_DIFFERENCE = 0.03

/**
 * The compiled publisher beside the one of Node at a rate that both keep with ease: the same
 * messages in the same time, or its figures mean nothing.
 */
async function checkPublisher(settings: Settings): Promise<Goal> {
  const measure = 'the compiled publisher beside the one of Node, 2,000 messages/s'
  const wanted = `messages within ${MAX_PUBLISHER_DIFFERENCE * 100} %`
  if (!canCompilePublisher()) return notMeasured(measure, wanted, 'no gcc')
  const load = { seconds: settings.seconds, seed: settings.seed, messagesPerSecond: 2000 }
  const [compiled, node] = await withSystem(
    () => startSluice(),
    async (system) => [
      await measureLoad(system, load),
      await measureLoad(system, { ...load, compiledPublisher: false }),
    ],
  )
  const show = ({ ackedPerSecond, p50Ms, p99Ms }: LoadFigures): string =>
    `${ackedPerSecond.toFixed(0)} acked/s, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`
  settings.say(`compiled publisher: ${show(compiled)}; Node: ${show(node)}`)
  const differs = Math.abs(compiled.ackedPerSecond / node.ackedPerSecond - 1)
  return {
    measure,
    goal: wanted,
    got: `${(differs * 100).toFixed(1)} %`,
    met: differs <= MAX_PUBLISHER_DIFFERENCE,
    note: '',
    values: [differs],
  }
}

export const fullLoad: Group = {
  name: 'full-load',
  about:
    'acks, delivery, disk, network and memory at full load, against Mosquitto, NATS and RabbitMQ',
  run: async (settings) => {
    const { mosquitto, nats, rabbitmq } = findPeers()
    for (const peer of [mosquitto, nats, rabbitmq]) {
      if (peer.version === null) {
        settings.say(`${peer.name} is not installed: not compared`)
        continue
      }
      settings.say(`${peer.name} ${peer.version}: ${peer.promise}`)
      for (const setup of peer.setups) settings.say(`  ${setup.name}: ${setup.settings}`)
    }
    return [
      await checkPublisher(settings),
      ...(await besideMosquitto(settings, mosquitto)),
      await besideStore(settings, nats, 3),
      await besideStore(settings, rabbitmq, 15),
    ]
  },
}
