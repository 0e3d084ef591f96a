/**
 * Fault 8: peers that do as little as they can. Each kind runs beside a device that publishes
 * steadily; the gate ends each of them for its reason, within its time and within its memory, and
 * the device's acks keep coming in order.
 */
import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { packet, RawMqtt } from '../../support/raw-mqtt.ts'
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
export async function slowConnects(peers: number): Promise<SlowReport> {
  const gate = await FuzzedGate.start({ connectTimeout: 3_000 })
  try {
    const sockets = await Promise.all(Array.from({ length: peers }, () => open(gate)))
    const bytes = packet.connect({ clientId: 'slow', username: 'x'.repeat(400), password: 'y' })
    let at = 0
    const trickle = setInterval(() => {
      for (const socket of sockets) if (!socket.destroyed) socket.write(bytes.subarray(at, at + 1))
      at += 1
    }, 10)
    try {
      await gate.bystander.publish(5)
      const seconds = await passTime(gate, 6, () => gate.broker.connections() === 2)
      if (seconds < 3) throw new Error(`closed after ${seconds} s, connectTimeout is 3 s`)
      if (at < 10 || at >= bytes.length)
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
export async function slowFrames(peers: number): Promise<SlowReport> {
  const gate = await FuzzedGate.start()
  try {
    const clients = await connectAll(gate, peers, 10)
    const bytes = packet.publish('t/slow', 'x'.repeat(2_000), { qos: 1, id: 1 })
    let at = 0
    const trickle = setInterval(() => {
      for (const { socket } of clients)
        if (!socket.destroyed) socket.write(bytes.subarray(at, at + 1))
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
export async function halfOpen(peers: number): Promise<SlowReport> {
  const gate = await FuzzedGate.start()
  try {
    const will = (n: number): { topic: string; payload: string; qos: number } => ({
      topic: 't/will',
      payload: `gone ${n}`,
      qos: 1,
    })
    const clients = await Promise.all(
      Array.from({ length: peers }, (_, n) =>
        RawMqtt.connect(gate.broker.addresses[0]!.port, {
          clientId: `half-${n}`,
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
 * links in memory: the kernel would take megabytes of acks for each of them first.
 */
export async function neverRead(peers: number): Promise<SlowReport> {
  const gate = await FuzzedGate.start()
  try {
    const ends = await Promise.all(
      Array.from({ length: peers }, async () => (await gate.connect('memory')).end),
    )
    for (const [n, end] of ends.entries()) end.write(packet.connect({ clientId: `deaf-${n}` }))
    const burst = Buffer.concat([
      ...Array.from({ length: 100 }, (_, n) =>
        packet.publish('t/deaf', 'x', { qos: 1, id: n + 1 }),
      ),
      // PINGREQs ask for an answer each, and cost the peer two bytes.
      ...Array.from({ length: 400 }, () => packet.pingreq()),
    ])
    let [peakBytes, sentBytes] = [0, 0]
    const publish = setInterval(() => {
      for (const end of ends) {
        if (end.destroyed || end.writableLength > 256 * 1024) continue
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
export async function oneByteSegments(peers: number, messages: number): Promise<SlowReport> {
  const gate = await FuzzedGate.start()
  try {
    let peakBytes = 0
    const one = async (n: number): Promise<void> => {
      const client = await RawMqtt.open(gate.broker.addresses[0]!.port)
      const publishes = Array.from({ length: messages }, (_, i) =>
        packet.publish('t/slow', `${n} ${i}`, { qos: 1, id: i + 1 }),
      )
      const bytes = Buffer.concat([packet.connect({ clientId: `byte-${n}` }), ...publishes])
      for (let at = 0; at < bytes.length; at += 1) {
        client.socket.write(bytes.subarray(at, at + 1))
        // A turn: the kernel would put segments together that are written in one.
        if (at % 2 === 0) await new Promise((resolve) => setImmediate(resolve))
        peakBytes = Math.max(peakBytes, gate.broker.stats.holdBackBytes)
      }
      await client.next(0x20)
      const acks = await client.acks(messages)
      if (acks.some((id, index) => id !== index + 1)) throw new Error(`I2: acks ${acks.join()}`)
      await client.end()
    }
    await Promise.all([
      ...Array.from({ length: peers }, (_, n) => one(n)),
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

async function connectAll(gate: FuzzedGate, peers: number, keepAlive: number): Promise<RawMqtt[]> {
  const { port } = gate.broker.addresses[0]!
  return await Promise.all(
    Array.from({ length: peers }, (_, n) =>
      RawMqtt.connect(port, { clientId: `peer-${n}`, keepAlive }),
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
