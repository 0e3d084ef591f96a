/**
 * As many messages as each system acknowledges: Sluice beside its peers in turn, and what full load
 * costs it.
 */
import { canCompilePublisher } from '../compiled-publisher.ts'
import { type Goal, judged, notMeasured } from '../goals.ts'
import { type Group, type Settings, withSystem } from '../group.ts'
import { isPublisherBound, type LoadFigures, type LoadOptions, measureLoad } from '../load.ts'
import { findPeers, type Peer, storedBytes } from '../peers.ts'
import type { Shape } from '../readings.ts'
import { median, ratios, spread } from '../statistics.ts'
import { type System, startSluice } from '../systems.ts'

/**
 * Of its payload bytes, what a peer must have in its files for its acks to mean that it stored the
 * messages.
 */
const MIN_STORED_SHARE = 0.5

type Load = Pick<LoadOptions, 'qos' | 'window' | 'shape' | 'subscriber'>
/** One of the figures. */
type Figure = (load: LoadFigures) => number | null

const acked: Figure = (load) => load.ackedPerSecond
const delivered: Figure = (load) => load.deliveredPerSecond
const copied: Figure = (load) => load.copiesPerSecond

function values(loads: readonly LoadFigures[], of: Figure): number[] {
  return loads.map((load) => of(load) ?? Number.NaN)
}

function figures(name: string, loads: readonly LoadFigures[]): string {
  const has = (of: Figure): boolean => loads.every((load) => of(load) !== null)
  const show = (of: Figure, digits = 0): string => spread(values(loads, of), digits)
  return [
    `  ${name.padEnd(19)} ${show(acked)} acked/s`,
    `p50 ${show((f) => f.p50Ms, 1)} ms, p99 ${show((f) => f.p99Ms, 1)} ms`,
    ...(has(delivered) ? [`${show(delivered)} acked and delivered/s`] : []),
    ...(has(copied) ? [`${show(copied)} copies/s to the subscriber`] : []),
    `${show((f) => f.cpuMicrosPerMessage, 2)} us of processor a message`,
    `${show((f) => f.diskBytesPerPayloadByte, 2)} disk bytes per payload byte`,
    `RssAnon ${show((f) => f.rssAnonMb)} MB`,
    `publisher ${show((f) => f.publisherBusy * 100)} % of a core`,
  ].join(', ')
}

/** Loads of Sluice, and of each setup of a peer, one for each round. */
interface Compared {
  readonly mine: LoadFigures[]
  readonly others: ReadonlyArray<{ readonly name: string; readonly loads: LoadFigures[] }>
}

/** Sluice and the peer with each of its setups in turn, round by round. */
async function inTurn(
  settings: Settings,
  load: Load,
  peer: Peer | null,
  use: (system: System, loaded: LoadFigures) => Promise<void> = async () => undefined,
): Promise<Compared> {
  const mine: LoadFigures[] = []
  const others = (peer?.version === null ? [] : (peer?.setups ?? [])).map((setup) => ({
    name: `${peer?.name} ${setup.name}`,
    start: () => setup.start(),
    loads: [] as LoadFigures[],
  }))
  for (let round = 0; round < settings.rounds; round++) {
    for (const { start, loads } of [{ start: () => startSluice(), loads: mine }, ...others]) {
      await withSystem(start, async (system) => {
        const { seconds, seed } = settings
        const loaded = await measureLoad(system, {
          ...load,
          seconds,
          seed: seed + round,
          drain: true,
        })
        await use(system, loaded)
        loads.push(loaded)
      })
    }
  }
  const beside = load.subscriber ? ', one local subscriber on #' : ''
  settings.say(
    `QoS ${load.qos}, 50 devices, ${load.window} in flight each, readings: ${load.shape}${beside}; ${settings.rounds} rounds`,
  )
  settings.say(figures('Sluice', mine))
  for (const { name, loads } of others) settings.say(figures(name, loads))
  return { mine, others }
}

/**
 * Against the peer's better setup. No ratio where the publisher took so much of a core that it may
 * have been the limit of either side.
 */
function against(
  measure: string,
  atLeast: number,
  compared: Compared,
  of: Figure,
  ofPeer: Figure = of,
): Goal {
  const wanted = `>= ${atLeast} x`
  const rate = (loads: readonly LoadFigures[]): number => median(values(loads, ofPeer))
  const best = compared.others.toSorted((a, b) => rate(b.loads) - rate(a.loads))[0]
  if (best === undefined) return notMeasured(measure, wanted, 'the peer is not installed')
  if (isPublisherBound(compared.mine) || isPublisherBound(best.loads)) {
    return notMeasured(measure, wanted, `publisher-bound${canCompilePublisher() ? '' : ': no gcc'}`)
  }
  const note = `against ${compared.others.map(({ name, loads }) => `${name} ${rate(loads).toFixed(0)}/s`).join(', ')}`
  return judged(
    { measure, atLeast, unit: 'x', note },
    ratios(values(compared.mine, of), values(best.loads, ofPeer)),
  )
}

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
  return [...goals, await besideSubscriber(settings, peer)]
}

/** Copies that reach one local subscriber, while each reading is stored and acknowledged, too. */
async function besideSubscriber(settings: Settings, peer: Peer): Promise<Goal> {
  const measure = 'copies to one local subscriber on #, 20 in flight, against Mosquitto'
  if (!canCompilePublisher()) return notMeasured(measure, '>= 1 x', 'publisher-bound: no gcc')
  const load = { qos: 1, window: 20, shape: 'models', subscriber: true } as const
  return against(measure, 1, await inTurn(settings, load, peer), copied)
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
