/**
 * Valid sessions of made-up clients, frame by frame: CONNECT in all its variants, PUBLISH at each
 * QoS with the PUBRELs that belong to them, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, acks of copies,
 * DISCONNECT. What breaks them is mutations.ts's.
 */
import type { Random } from '../../../device-sim/random.ts'
import { packet } from '../../support/raw-mqtt.ts'

/** Of the streams `t` and `a` (one each), `both` (two), and of none. */
/**
 * No copy gets such a packet id here: whether an ack for one that is on its way is the right one is
 * a question of time.
 */
const UNUSED_ID = 40_000

const TOPICS = ['t', 't/1', 't/2/é', 'a/1', 'both/x', 'both/y/z', 'live/1', 'nobody']
const FILTERS = ['live/#', 'live/+', '+/1', 'nobody', 't/2/#', '+', 'é/ü']
const LETTERS = 'abcdefghijklmnopqrstuvwxyz'

export interface SessionShape {
  readonly clientId: string
  readonly clean: boolean
  /** Frames behind CONNECT, at most. */
  readonly maxFrames: number
}

export function pick<T>(random: Random, list: readonly T[]): T {
  return list[random.below(list.length)] as T
}

/** Ten letters: no flip of some bits makes one client another. */
export function makeClientId(random: Random): string {
  return `f-${Array.from({ length: 10 }, () => LETTERS[random.below(26)]).join('')}`
}

/** The frames of one connection, CONNECT first. */
export function makeSession(random: Random, shape: SessionShape): Buffer[] {
  const { clientId, clean, maxFrames } = shape
  const frames = [makeConnect(random, clientId, clean)]
  const open: number[] = []
  let number = 0
  const payload = (): string =>
    random.chance(0.03)
      ? ''
      : `{"n":${++number},"c":"${clientId}","x":"${'x'.repeat(random.below(120))}"}`
  const publish = (qos: 0 | 1 | 2): Buffer => {
    // Few ids, so that they meet again.
    const id = 1 + random.below(random.chance(0.9) ? 8 : 65_535)
    if (qos === 2) open.push(id)
    const fields = { qos, id, dup: qos > 0 && random.chance(0.1), retain: random.chance(0.05) }
    return packet.publish(pick(random, TOPICS), payload(), fields)
  }
  const count = random.below(maxFrames + 1)
  while (frames.length <= count) {
    const kind = random.below(20)
    if (kind < 3) frames.push(publish(0))
    else if (kind < 8) frames.push(publish(1))
    else if (kind < 12) frames.push(publish(2))
    else if (kind < 15) frames.push(packet.pubrel(open.shift() ?? 1 + random.below(8)))
    else if (kind < 16) frames.push(packet.pingreq())
    else if (kind < 17) frames.push(makeSubscribe(random))
    else if (kind < 18)
      frames.push(packet.unsubscribe(1 + random.below(9), [pick(random, FILTERS)]))
    else if (kind < 19)
      frames.push(packet.ack(pick(random, [0x40, 0x50, 0x70]), UNUSED_ID + random.below(9)))
    // A device's own repeat.
    else frames.push(frames[1 + random.below(frames.length - 1)] ?? packet.pingreq())
  }
  if (random.chance(0.4)) frames.push(packet.disconnect())
  return frames
}

function makeConnect(random: Random, clientId: string, clean: boolean): Buffer {
  const old = random.chance(0.1)
  const will = {
    topic: pick(random, TOPICS),
    payload: `will of ${clientId}`,
    qos: random.below(3),
    retain: random.chance(0.1),
  }
  return packet.connect({
    clientId,
    clean,
    keepAlive: random.chance(0.5) ? 0 : random.below(65_536),
    ...(old ? { protocol: 'MQIsdp', level: 3 } : {}),
    ...(random.chance(0.3) ? { will } : {}),
    ...(random.chance(0.2) ? { username: 'somebody', password: 'secret' } : {}),
  })
}

function makeSubscribe(random: Random): Buffer {
  const count = 1 + random.below(3)
  const filters = Array.from(
    { length: count },
    () => [pick(random, FILTERS), random.below(3)] as const,
  )
  return packet.subscribe(1 + random.below(9), filters)
}
