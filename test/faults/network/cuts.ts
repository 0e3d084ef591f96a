/**
 * Fault 8: the link is cut in every state of the protocol. One exchange per QoS (CONNECT, two
 * PUBLISHes, at QoS 2 their PUBRELs, DISCONNECT) is cut behind each byte that the device sends, and
 * behind each byte that it gets to see; then the device comes back as a real one does, with its
 * session and its unacknowledged messages. Every acknowledged message has to be stored, QoS 2 once
 * (I3), QoS 1 at least once and at most once per try, QoS 0 at most once; the gate keeps nothing of
 * the cut connection. In both versions of MQTT.
 */
import { createConnection, type Socket } from 'node:net'
import { type Level, REASON } from '../../support/mqtt-answers.ts'
import { lastingSession, packet, RawMqtt } from '../../support/raw-mqtt.ts'
import type { FuzzedGate } from '../fuzz/fuzzed-gate.ts'

/**
 * What the device does when its link fails: reset, FIN, or nothing at all (half-open: it comes back
 * on a new one).
 */
const CUTS = ['reset', 'fin', 'half-open'] as const
type Cut = (typeof CUTS)[number]

export interface CutTotals {
  cuts: number
  /** First connections whose cut left at least one message unacknowledged. */
  interrupted: number
  acked: number
  readonly failures: string[]
}

/** What is cut, and how. */
export interface CutKind {
  readonly level: Level
  readonly qos: 0 | 1 | 2
  readonly cut: Cut
}

const LEVELS: readonly Level[] = [4, 5]
const QOS = [0, 1, 2] as const

export const CUT_KINDS: readonly CutKind[] = LEVELS.flatMap((level) =>
  QOS.flatMap((qos) => CUTS.map((cut) => ({ level, qos, cut }))),
)

interface Device {
  readonly clientId: string
  readonly level: Level
  readonly qos: 0 | 1 | 2
  /** Message number to what is known of it. */
  readonly states: Map<number, 'new' | 'sent' | 'received' | 'done'>
  tries: number
}

const MESSAGES = [1, 2]
const SESSION_EXPIRY_SECONDS = 3_600

/** Cuts each byte of one exchange. `stride`: only each so-manyth byte. */
export async function cutEveryState(
  gate: FuzzedGate,
  { level, qos, cut }: CutKind,
  totals: CutTotals,
  stride = 1,
  offset = 0,
): Promise<void> {
  const whole = sentBytes('c-0-0', level, qos)
  const seenBytes =
    (await connackBytes(gate, level)) + MESSAGES.length * (qos === 0 ? 0 : qos === 1 ? 4 : 8)
  const places: { readonly sent: number; readonly seen: number }[] = []
  for (let sent = 1 + offset; sent <= whole; sent += stride)
    places.push({ sent, seen: Number.POSITIVE_INFINITY })
  for (let seen = offset; seen < seenBytes; seen += stride)
    places.push({ sent: Number.POSITIVE_INFINITY, seen })
  const devices: Device[] = places.map((_, index) => ({
    clientId: `${cut}-${level}-${qos}-${offset}-${totals.cuts}-${index}`,
    level,
    qos,
    states: new Map(MESSAGES.map((n) => [n, 'new'])),
    tries: 0,
  }))
  const end = { sent: Number.POSITIVE_INFINITY, seen: Number.POSITIVE_INFINITY }
  const guarded = async (index: number, step: (device: Device) => Promise<void>): Promise<void> => {
    try {
      await step(devices[index]!)
    } catch (error) {
      totals.failures.push(
        `level ${level}, QoS ${qos}, ${cut} behind ${JSON.stringify(places[index])}: ${String(error)}`,
      )
    }
  }
  await Promise.all(
    places.map((place, index) =>
      guarded(index, async (device) => {
        await exchange(gate, device, place, cut)
        if (!isDone(device)) totals.interrupted += 1
        await exchange(gate, device, end, 'fin')
      }),
    ),
  )
  // QoS 0 is not stored before it is committed: behind this ack it is.
  await gate.bystander.publish(2)
  for (const index of places.keys()) {
    await guarded(index, async (device) => {
      check(gate, device)
      totals.acked += MESSAGES.length
      await Promise.resolve()
    })
  }
  totals.cuts += places.length
}

function sentBytes(clientId: string, level: Level, qos: 0 | 1 | 2): number {
  const device = { clientId, level, qos }
  const publishes = MESSAGES.map((n) => publishOf(device, n, false))
  const releases = qos === 2 ? MESSAGES.map((n) => packet.pubrel(n)) : []
  return Buffer.concat([connectOf(device), ...publishes, ...releases]).length
}

/** In version 5 a gateway grants what it likes, in so many bytes. */
async function connackBytes(gate: FuzzedGate, level: Level): Promise<number> {
  const { port } = gate.broker.addresses[0]!
  const client = await RawMqtt.connect(port, { clientId: 'probe', clean: true, level })
  const bytes = client.receivedBytes
  await client.end()
  return bytes
}

type Sender = Pick<Device, 'clientId' | 'level' | 'qos'>

function connectOf({ clientId, level }: Pick<Sender, 'clientId' | 'level'>): Buffer {
  return packet.connect({ clientId, ...lastingSession(level, SESSION_EXPIRY_SECONDS) })
}

function publishOf({ clientId, level, qos }: Sender, n: number, dup: boolean): Buffer {
  return packet.publish('t/cut', `${clientId} ${n}`, { qos, id: n, dup, level })
}

/** One connection of a device, up to its cut. Resolves when the device knows how it ended. */
async function exchange(
  gate: FuzzedGate,
  device: Device,
  limit: { readonly sent: number; readonly seen: number },
  cut: Cut,
): Promise<void> {
  const { qos, states } = device
  device.tries += 1
  const { port } = gate.broker.addresses[0]!
  const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  let left = limit.sent
  let seen: Buffer = Buffer.alloc(0)
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`nothing more came; ${JSON.stringify([...states])}`)),
      10_000,
    )
    const finish = (): void => {
      clearTimeout(timer)
      end(socket, cut)
      resolve()
    }
    const send = (bytes: Buffer): void => {
      if (left <= 0) return
      socket.write(bytes.subarray(0, left))
      left -= bytes.length
      if (left > 0) return
      // What is on the wire arrives; what comes back is not seen any more.
      socket.removeAllListeners('data')
      socket.resume()
      setImmediate(finish)
    }
    socket.on('data', (chunk: Buffer) => {
      const room = limit.seen - seen.length
      seen = Buffer.concat([seen, chunk.subarray(0, room)])
      const isCut = chunk.length >= room
      try {
        seen = takeFrames(seen, device, send, (taken) => {
          limit = { ...limit, seen: limit.seen - taken }
        })
      } catch (error) {
        clearTimeout(timer)
        reject(error)
        return
      }
      if (isCut || isDone(device)) finish()
    })
    socket.once('close', () => {
      if (!isDone(device) && limit.seen === Number.POSITIVE_INFINITY && left > 0) {
        clearTimeout(timer)
        reject(new Error('the gateway closed the connection'))
      }
    })
    send(connectOf(device))
    if (limit.seen === 0) setImmediate(finish)
    if (qos === 0) {
      for (const [n] of states) send(publishOf(device, n, false))
      if (left > 0) send(packet.pingreq())
    }
  })
}

function isDone({ states }: Device): boolean {
  return [...states.values()].every((state) => state === 'done')
}

/** Whole frames of the gateway, and what a device answers. Returns the rest. */
function takeFrames(
  bytes: Buffer,
  device: Device,
  send: (bytes: Buffer) => void,
  taken: (bytes: number) => void,
): Buffer {
  let rest = bytes
  while (rest.length >= 2 && rest.length >= 2 + rest[1]!) {
    const frame = rest.subarray(0, 2 + rest[1]!)
    rest = rest.subarray(frame.length)
    taken(frame.length)
    take(frame, device, send)
  }
  return rest
}

function take(frame: Buffer, device: Device, send: (bytes: Buffer) => void): void {
  const { qos, states } = device
  const id = frame.length >= 4 ? frame.readUInt16BE(2) : 0
  const code = frame[4] ?? 0
  switch (frame[0]) {
    case 0x20: {
      if (frame[3] !== 0) throw new Error(`CONNACK ${frame[3]}`)
      if (qos === 0) return
      // In the order in which they were first sent: repeats, releases, then what is new.
      for (const [n, state] of states) {
        if (state === 'received') send(packet.pubrel(n))
        else if (state !== 'done') {
          states.set(n, 'sent')
          send(publishOf(device, n, state === 'sent'))
        }
      }
      return
    }
    case 0x40:
      if (qos !== 1 || states.get(id) !== 'sent' || code !== 0)
        throw new Error(`PUBACK ${code} for ${id}, ${states.get(id)}`)
      states.set(id, 'done')
      return
    case 0x50:
      if (qos !== 2 || states.get(id) !== 'sent' || code !== 0)
        throw new Error(`PUBREC ${code} for ${id}, ${states.get(id)}`)
      states.set(id, 'received')
      send(packet.pubrel(id))
      return
    case 0x70:
      if (qos !== 2 || states.get(id) !== 'received')
        throw new Error(`PUBCOMP for ${id}, ${states.get(id)}`)
      // A PUBREL that is repeated may find its id gone.
      if (code !== 0 && (code !== REASON.PACKET_ID_NOT_FOUND || device.tries === 1))
        throw new Error(`PUBCOMP ${code} for ${id}`)
      states.set(id, 'done')
      return
    case 0xd0:
      // Behind all QoS 0 messages: they were taken.
      for (const n of states.keys()) states.set(n, 'done')
      return
    default:
      throw new Error(`frame 0x${frame.toString('hex')}`)
  }
}

function end(socket: Socket, cut: Cut): void {
  if (cut === 'reset') socket.resetAndDestroy()
  else if (cut === 'fin') socket.end()
  // Half-open: nobody says anything any more, until the takeover.
  else socket.pause()
}

function check(gate: FuzzedGate, { clientId, qos, tries }: Device): void {
  const payloads = gate.appender.records
    .filter(({ device }) => device === clientId)
    .map(({ payload }) => payload)
  for (const n of MESSAGES) {
    const times = payloads.filter((payload) => payload === `${clientId} ${n}`).length
    if (qos === 2 && times !== 1) throw new Error(`I3: message ${n} is stored ${times} times`)
    if (qos < 2 && (times < 1 || times > tries))
      throw new Error(`message ${n} is stored ${times} times after ${tries} tries`)
  }
  const first = payloads.filter((payload, index) => payloads.indexOf(payload) === index)
  if (first.join() !== MESSAGES.map((n) => `${clientId} ${n}`).join())
    throw new Error(`I2: stored ${first.join()}`)
}
