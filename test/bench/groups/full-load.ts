/** As many messages as each system acknowledges: Sluice beside its peers in turn, and what full load costs it. */
import { type Goal, judged, notMeasured } from '../goals.ts'
import { type Group, type Settings, withSystem } from '../group.ts'
import { type LoadFigures, type LoadOptions, measureLoad, publisherNote } from '../load.ts'
import { findPeers, type Peer, storedBytes } from '../peers.ts'
import { ratios, spread } from '../statistics.ts'
import { type System, startSluice } from '../systems.ts'

/** Of its payload bytes, what a peer must have in its files for its acks to mean that it stored the messages. */
const MIN_STORED_SHARE = 0.5

const acked = (load: LoadFigures): number => load.ackedPerSecond

function figures(loads: readonly LoadFigures[]): string {
  const pick = (of: (f: LoadFigures) => number | null): number[] => loads.map((f) => of(f) ?? Number.NaN)
  const delivered = loads.every((f) => f.deliveredPerSecond !== null)
  return [
    `  ${(loads[0]?.system ?? '').padEnd(10)} ${spread(pick(acked))} acked/s`,
    `p50 ${spread(
      pick((f) => f.p50Ms),
      1,
    )} ms, p99 ${spread(
      pick((f) => f.p99Ms),
      1,
    )} ms`,
    ...(delivered ? [`${spread(pick((f) => f.deliveredPerSecond))} acked and delivered/s`] : []),
    `${spread(
      pick((f) => f.cpuMicrosPerMessage),
      2,
    )} us of processor a message`,
    `${spread(
      pick((f) => f.diskBytesPerPayloadByte),
      2,
    )} disk bytes per payload byte`,
    `RssAnon ${spread(pick((f) => f.rssAnonMb))} MB`,
    `publisher ${spread(pick((f) => f.publisherBusy * 100))} % busy`,
  ].join(', ')
}

/** Sluice and the others in turn, round by round; one list of figures for each. */
async function inTurn(
  settings: Settings,
  load: Pick<LoadOptions, 'qos' | 'window'>,
  peers: readonly Peer[],
  use: (system: System, loaded: LoadFigures) => Promise<void> = async () => undefined,
): Promise<LoadFigures[][]> {
  const starts = [() => startSluice(), ...peers.map((p) => () => p.start())]
  const all: LoadFigures[][] = starts.map(() => [])
  for (let round = 0; round < settings.rounds; round++) {
    for (const [i, start] of starts.entries()) {
      await withSystem(start, async (system) => {
        const { seconds, seed } = settings
        const loaded = await measureLoad(system, { ...load, seconds, seed: seed + round, drain: true })
        await use(system, loaded)
        all[i]?.push(loaded)
      })
    }
  }
  settings.say(`QoS ${load.qos}, 50 devices, ${load.window} in flight each, ${settings.rounds} rounds`)
  for (const loads of all) settings.say(figures(loads))
  return all
}

function against(
  measure: string,
  atLeast: number,
  mine: readonly number[],
  peer: readonly LoadFigures[],
  note = publisherNote(peer),
): Goal {
  return judged({ measure, atLeast, unit: 'x', note }, ratios(mine, peer.map(acked)))
}

async function besideMosquitto(settings: Settings, peer: Peer): Promise<Goal[]> {
  const peers = peer.version === null ? [] : [peer]
  const [at20 = [], other20] = await inTurn(settings, { qos: 1, window: 20 }, peers)
  const [at100 = [], other100] = await inTurn(settings, { qos: 1, window: 100 }, peers)
  const [qos2 = [], otherQos2] = await inTurn(settings, { qos: 2, window: 20 }, peers)
  const goals =
    other20 && other100 && otherQos2
      ? [
          against('QoS 1 acks, 20 in flight, against Mosquitto', 1.3, at20.map(acked), other20),
          against('QoS 1 acks, 100 in flight, against Mosquitto', 1.8, at100.map(acked), other100),
          against('QoS 2 completed, 20 in flight, against Mosquitto', 1, qos2.map(acked), otherQos2),
          against(
            'QoS 1 acked and delivered, 20 in flight, against the acks of Mosquitto',
            1,
            at20.map((f) => f.deliveredPerSecond ?? Number.NaN),
            other20,
          ),
        ]
      : [notMeasured('acks against Mosquitto', '', 'mosquitto is not installed')]
  return [...goals, ...costs(at20, at100)]
}

function costs(at20: readonly LoadFigures[], at100: readonly LoadFigures[]): Goal[] {
  const device = at100.map((f) => f.deviceBytesPerPayloadByte ?? Number.NaN)
  return [
    judged(
      {
        measure: 'disk bytes per payload byte, full load (100 in flight), drained',
        atMost: 0.6,
        unit: '',
        note: `whole block device ${spread(device, 2)}`,
      },
      at100.map((f) => f.diskBytesPerPayloadByte),
    ),
    judged(
      { measure: 'network bytes per payload byte, full load', atMost: 0.3, unit: '' },
      [...at20, ...at100].map((f) => f.networkBytesPerPayloadByte ?? Number.NaN),
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
  const measure = `QoS 1 acks, 20 in flight, against ${peer.name}`
  if (peer.version === null) {
    return notMeasured(measure, `>= ${atLeast} x`, `${peer.name} is not installed`)
  }
  const load = { qos: 1, window: 20 } as const
  const [mine = [], other = []] = await inTurn(settings, load, [peer], async (system, loaded) => {
    if (system.name !== peer.name) return
    const share = storedBytes(system.folder) / (loaded.messages * loaded.payloadBytes)
    settings.say(`  ${peer.name} holds ${share.toFixed(2)} bytes per payload byte in its files`)
    if (share < MIN_STORED_SHARE) throw new Error(`${peer.name} acknowledges without storing`)
  })
  return against(measure, atLeast, mine.map(acked), other)
}

export const fullLoad: Group = {
  name: 'full-load',
  about: 'acks, delivery, disk, network and memory at full load, against Mosquitto, NATS and RabbitMQ',
  run: async (settings) => {
    const { mosquitto, nats, rabbitmq } = findPeers()
    for (const peer of [mosquitto, nats, rabbitmq]) {
      settings.say(
        peer.version === null
          ? `${peer.name} is not installed: not compared`
          : `${peer.name} ${peer.version}: ${peer.settings}`,
      )
    }
    return [
      ...(await besideMosquitto(settings, mosquitto)),
      await besideStore(settings, nats, 3),
      await besideStore(settings, rabbitmq, 15),
    ]
  },
}
