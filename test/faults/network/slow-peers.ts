/**
 * Fault 8: peers that do as little as they can. Each kind runs beside a device that publishes
 * steadily; the gate ends each of them for its reason, within its time and within its memory, and
 * the device's acks keep coming in order.
 */
import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { levelsInTurn } from '../../support/levels.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { FuzzedGate } from '../fuzz/fuzzed-gate.ts'

export interface SlowReport {
  readonly kind: string
  readonly peers: number
  /** Of the reason that the gate gave for all of them. */
  readonly ended: number
  readonly heldBytes: number
}

async function open(gate: FuzzedGate): Promise<Socket> {
  const socket = createConnection({
    port: gate.broker.addresses[0]!.port,
    host: '127.0.0.1',
    noDelay: true,
  })
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

/**
 * The gate's clock goes on while `condition` does not hold: a second per sweep. @throws when it
 * does not come to hold
 */
async function passTime(
  gate: FuzzedGate,
  seconds: number,
  condition: () => boolean,
): Promise<number> {
  for (let passed = 0; passed <= seconds; passed += 1) {
    if (condition()) return passed
    gate.turnClock(1_000)
    // The sweep looks each 250 ms.
    await sleep(260)
  }
  throw new Error(`not within ${seconds} s of the gate's clock`)
}

/** A CONNECT that comes a byte at a time does not gain time by it. */
export async function slowConnects(peers: number, seed: number): Promise<SlowReport> {
  const gate = await FuzzedGate.start({ connectTimeout: 3_000 })
  try {
    const sockets = await Promise.all(Array.from({ length: peers }, () => open(gate)))
    const nextLevel = levelsInTurn(seed)
    const login = { clientId: 'slow', username: 'x'.repeat(400), password: 'y' }
    const connects = sockets.map(() => packet.connect({ ...login, level: nextLevel() }))
    let at = 0
    const trickle = setInterval(() => {
      for (const [n, socket] of sockets.entries())
        if (!socket.destroyed) socket.write(connects[n]!.subarray(at, at + 1))
      at += 1
    }, 10)
    try {
      await gate.bystander.publish(5)
      const seconds = await passTime(gate, 6, () => gate.broker.connections() === 2)
      if (seconds < 3) throw new Error(`closed after ${seconds} s, connectTimeout is 3 s`)
      if (at < 10 || connects.some(({ length }) => at >= length))
        throw new Error(`${at} bytes were sent: the peers were not slow`)
      await gate.bystander.publish(5)
      return report(
        gate,
        'slow CONNECT',
        peers,
        gate.broker.stats.connectionsClosed['connect-timeout'],
      )
    } finally {
      clearInterval(trickle)
      for (const socket of sockets) socket.destroy()
    }
  } finally {
    await gate.stop()
  }
}

/** A frame that comes a byte at a time keeps the keepalive content, but has to end within 60 s. */
export async function slowFrames(peers: number, seed: number): Promise<SlowReport> {
  const gate = await FuzzedGate.start()
  try {
    const clients = await connectAll(gate, peers, 10, seed)
    const publishes = clients.map(({ level }) =>
      packet.publish('t/slow', 'x'.repeat(2_000), { qos: 1, id: 1, level }),
    )
    let at = 0
    const trickle = setInterval(() => {
      for (const [n, { socket }] of clients.entries())
        if (!socket.destroyed) socket.write(publishes[n]!.subarray(at, at + 1))
      at += 1
    }, 50)
    try {
      const seconds = await passTime(gate, 70, () => gate.broker.connections() === 2)
      if (seconds < 59) throw new Error(`closed after ${seconds} s`)
      await gate.bystander.publish(5)
      return report(
        gate,
        'slow PUBLISH',
        peers,
        gate.broker.stats.connectionsClosed['frame-timeout'],
      )
    } finally {
      clearInterval(trickle)
      for (const client of clients) client.cut()
    }
  } finally {
    await gate.stop()
  }
}

/**
 * Devices whose link died without a word: their keepalive ends them, and their wills are published.
 */
export async function halfOpen(peers: number, seed: number): Promise<SlowReport> {
  const gate = await FuzzedGate.start()
  try {
    const will = (n: number): { topic: string; payload: string; qos: number } => ({
      topic: 't/will',
      payload: `gone ${n}`,
      qos: 1,
    })
    const nextLevel = levelsInTurn(seed)
    const clients = await Promise.all(
      Array.from({ length: peers }, (_, n) =>
        RawMqtt.connect(gate.broker.addresses[0]!.port, {
          clientId: `half-${n}`,
          level: nextLevel(),
          keepAlive: 4,
          will: will(n),
        }),
      ),
    )
    for (const { socket } of clients) socket.pause()
    const seconds = await passTime(gate, 12, () => gate.broker.connections() === 2)
    if (seconds < 6) throw new Error(`closed after ${seconds} s, keepalive is 4 s`)
    await gate.bystander.publish(5)
    const wills = new Set(
      gate.appender.records.filter((record) => record.will).map(({ payload }) => payload),
    )
    if (wills.size !== peers) throw new Error(`${wills.size} wills of ${peers} were published`)
    for (const client of clients) client.cut()
    return report(gate, 'half-open', peers, gate.broker.stats.connectionsClosed.keepalive)
  } finally {
    await gate.stop()
  }
}

/**
 * Devices that publish and never read their acks: nothing more is read from them, and they go. Over
 * links in memory: the kernel would take megabytes of acks for each of them first. In MQTT 5 they
 * ping alone: for what they publish beyond their grant they would be ended before.
 */
export async function neverRead(peers: number, seed: number): Promise<SlowReport> {
  const gate = await FuzzedGate.start()
  try {
    const ends = await Promise.all(
      Array.from({ length: peers }, async () => (await gate.connect('memory')).end),
    )
    const nextLevel = levelsInTurn(seed)
    const levels = ends.map(() => nextLevel())
    for (const [n, end] of ends.entries())
      end.write(packet.connect({ clientId: `deaf-${n}`, level: levels[n]! }))
    // PINGREQs ask for an answer each, and cost the peer two bytes.
    const pings = (count: number): Buffer[] => Array.from({ length: count }, () => packet.pingreq())
    const publishes = Array.from({ length: 100 }, (_, n) =>
      packet.publish('t/deaf', 'x', { qos: 1, id: n + 1 }),
    )
    const bursts: Readonly<Record<Level, Buffer>> = {
      4: Buffer.concat([...publishes, ...pings(400)]),
      5: Buffer.concat(pings(1_000)),
    }
    let [peakBytes, sentBytes] = [0, 0]
    const publish = setInterval(() => {
      for (const [n, end] of ends.entries()) {
        if (end.destroyed || end.writableLength > 256 * 1024) continue
        const burst = bursts[levels[n]!]
        end.write(burst)
        sentBytes += burst.length
      }
      gate.appender.records.length = 0
      peakBytes = Math.max(peakBytes, gate.broker.stats.holdBackBytes)
    }, 5)
    try {
      await gate.bystander.publish(5)
      const seconds = await passTime(gate, 90, () => gate.broker.connections() === 2)
      if (seconds < 59) throw new Error(`closed after ${seconds} s`)
      await gate.bystander.publish(5)
      if (sentBytes < peers * 256 * 1024) throw new Error('the peers sent too little to be stopped')
      const bound = peers * (64 + 16) * 1024
      if (peakBytes > bound) throw new Error(`${peakBytes} bytes were held for ${peers} peers`)
      const { 'slow-reader': ended } = gate.broker.stats.connectionsClosed
      return report(gate, 'never read', peers, ended, peakBytes)
    } finally {
      clearInterval(publish)
      for (const end of ends) end.destroy()
    }
  } finally {
    await gate.stop()
  }
}

/** All bytes in segments of one: every message is taken, acks come in order, and nothing grows. */
export async function oneByteSegments(
  peers: number,
  messages: number,
  seed: number,
): Promise<SlowReport> {
  const gate = await FuzzedGate.start()
  try {
    let peakBytes = 0
    const nextLevel = levelsInTurn(seed)
    const one = async (n: number, level: Level): Promise<void> => {
      const client = await RawMqtt.open(gate.broker.addresses[0]!.port, level)
      const publishes = Array.from({ length: messages }, (_, i) =>
        packet.publish('t/slow', `${n} ${i}`, { qos: 1, id: i + 1, level }),
      )
      const connect = packet.connect({ clientId: `byte-${n}`, level })
      const bytes = Buffer.concat([connect, ...publishes])
      for (let at = 0; at < bytes.length; at += 1) {
        client.socket.write(bytes.subarray(at, at + 1))
        // A turn: the kernel would put segments together that are written in one.
        if (at % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
        peakBytes = Math.max(peakBytes, gate.broker.stats.holdBackBytes)
      }
      await client.next(TYPE.CONNACK)
      const acks = await client.acks(messages)
      if (acks.some((id, index) => id !== index + 1)) throw new Error(`I2: acks ${acks.join()}`)
      await client.end()
    }
    await Promise.all([
      ...Array.from({ length: peers }, (_, n) => one(n, nextLevel())),
      gate.bystander.publish(20),
    ])
    const stored = gate.appender.records.filter(({ topic }) => topic === 't/slow').length
    if (stored !== peers * messages)
      throw new Error(`${stored} of ${peers * messages} messages are stored`)
    if (peakBytes > peers * 64) throw new Error(`${peakBytes} bytes were held`)
    return report(
      gate,
      'segments of one byte',
      peers,
      gate.broker.stats.connectionsClosed['client-disconnect'],
      peakBytes,
    )
  } finally {
    await gate.stop()
  }
}

async function connectAll(
  gate: FuzzedGate,
  peers: number,
  keepAlive: number,
  seed: number,
): Promise<RawMqtt[]> {
  const { port } = gate.broker.addresses[0]!
  const nextLevel = levelsInTurn(seed)
  return await Promise.all(
    Array.from({ length: peers }, (_, n) =>
      RawMqtt.connect(port, { clientId: `peer-${n}`, keepAlive, level: nextLevel() }),
    ),
  )
}

function report(
  gate: FuzzedGate,
  kind: string,
  peers: number,
  ended: number,
  heldBytes = 0,
): SlowReport {
  const faults = gate.takeFaults()
  if (faults.length > 0) throw new Error(faults.join('\n'))
  if (ended !== peers) throw new Error(`${kind}: ${ended} of ${peers} ended for the right reason`)
  return { kind, peers, ended, heldBytes }
}
