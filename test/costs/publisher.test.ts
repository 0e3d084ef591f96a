/** The publisher that is compiled sends what the one of Node sends, and counts as it does. */

import { type AddressInfo, createServer, type Socket } from 'node:net'
import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { runPublisher } from '../bench/processes.ts'
import type { PublisherOptions } from '../bench/publisher.ts'
import { deviceFrames } from '../bench/readings.ts'
import { testWithTool } from '../support/tool-tests.ts'

const DEVICES = 3
const LOAD = { devices: DEVICES, firstDevice: 7, seed: 5, warmupMs: 100, measureMs: 400 } as const
const WINDOW = 5
/** Behind the end of the measured time: acks that the server wrote and nobody read any more. */
const MAX_UNREAD = DEVICES * WINDOW

/**
 * A server that acknowledges each packet at once, keeps the messages of each client, and copies
 * them to its subscribers.
 */
class Recorder {
  readonly messages = new Map<string, Buffer[]>()
  acked = 0
  copies = 0
  acksOfCopies = 0
  readonly server = createServer((socket) => this.#serve(socket))
  readonly #subscribers: Array<(packet: IPublishPacket) => void> = []

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  #serve(socket: Socket): void {
    let sent: Buffer[] = []
    const version = { protocolVersion: 4 }
    const parser = mqttPacket.parser(version)
    parser.on('packet', (packet: Packet) => {
      // In both versions: an ack of success is the same four bytes.
      const answer = (reply: Packet): unknown => socket.write(mqttPacket.generate(reply))
      const messageId = packet.messageId ?? 0
      if (packet.cmd === 'connect') {
        sent = []
        version.protocolVersion = packet.protocolVersion ?? 4
        this.messages.set(packet.clientId, sent)
        const connack = { cmd: 'connack', returnCode: 0, reasonCode: 0 } as const
        socket.write(mqttPacket.generate({ ...connack, sessionPresent: false }, version))
      } else if (packet.cmd === 'subscribe') {
        const { qos } = packet.subscriptions[0] ?? { qos: 0 }
        this.#subscribers.push((copy) => answer({ ...copy, qos }))
        answer({ cmd: 'suback', messageId, granted: [qos] })
      } else if (packet.cmd === 'puback') {
        this.acksOfCopies += 1
      } else if (packet.cmd === 'pubrel') {
        this.acked += 1
        answer({ cmd: 'pubcomp', messageId })
      } else if (packet.cmd === 'publish') {
        sent.push(Buffer.from(packet.payload))
        if (packet.qos === 1) this.acked += 1
        answer({ cmd: packet.qos === 1 ? 'puback' : 'pubrec', messageId })
        this.copies += this.#subscribers.length
        for (const copyTo of this.#subscribers) copyTo(packet)
      }
    })
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => parser.parse(chunk))
  }
}

let recorder: Recorder

beforeEach(async () => {
  recorder = new Recorder()
  await new Promise<void>((resolve) => recorder.server.listen(0, '127.0.0.1', resolve))
})

afterEach(() => recorder.server.close())

async function check(
  options: Pick<PublisherOptions, 'qos' | 'shape' | 'protocol' | 'messagesPerSecond'>,
  compiled: boolean,
) {
  const load: PublisherOptions = { ...LOAD, ...options, window: WINDOW, port: recorder.port }
  const result = await runPublisher(load, {}, compiled)
  for (let device = LOAD.firstDevice; device < LOAD.firstDevice + DEVICES; device++) {
    const made = deviceFrames(device, { ...options, seed: LOAD.seed, frames: 1000 })
    const sent = recorder.messages.get(made.clientId) ?? []
    expect(sent.length).toBeGreaterThan(10)
    for (const [i, payload] of sent.entries()) {
      const frame = made.frames[i % 1000] as Buffer
      const payloadAt = (made.idAt[i % 1000] as number) + (options.protocol === 5 ? 3 : 2)
      const expected = frame.subarray(payloadAt)
      if (!payload.equals(expected)) throw new Error(`message ${i} of ${made.clientId} differs`)
    }
  }
  expect(result.total).toBeGreaterThan(recorder.acked - MAX_UNREAD - 1)
  expect(result.total).toBeLessThanOrEqual(recorder.acked)
  expect(result.completed).toBeLessThanOrEqual(result.total)
  expect(result.p99Ms).toBeGreaterThan(0)
  return result
}

for (const compiled of [false, true]) {
  const define = compiled
    ? (name: string, body: () => Promise<void>) => testWithTool('gcc', name, body)
    : it
  const name = compiled ? 'the compiled publisher' : 'the publisher of Node'
  define(`${name} sends each device's messages in turn at QoS 1 and counts its acks`, async () => {
    await check({ qos: 1, shape: 'models', messagesPerSecond: null }, compiled)
  })
  define(`${name} completes QoS 2 with readings of eight channels`, async () => {
    await check({ qos: 2, shape: 'channels', messagesPerSecond: null }, compiled)
  })
  define(`${name} keeps its pace`, async () => {
    const beganMs = performance.now()
    await check({ qos: 1, messagesPerSecond: 1000 }, compiled)
    // Since the launch: what a busy machine held up for a moment is made up for behind it.
    const seconds = (performance.now() - beganMs) / 1000
    expect(recorder.acked).toBeLessThanOrEqual(1000 * seconds * 1.1)
  })
}

for (const qos of [1, 2] as const) {
  testWithTool('gcc', `the compiled publisher speaks MQTT 5 at QoS ${qos}`, async () => {
    await check({ qos, protocol: 5, messagesPerSecond: null }, true)
  })
}

for (const subscribers of [
  { count: 1, qos: 0 },
  { count: 3, qos: 1 },
] as const) {
  const name = `the compiled publisher counts copies to ${subscribers.count} at QoS ${subscribers.qos}`
  testWithTool('gcc', name, async () => {
    const load = {
      ...LOAD,
      qos: 1,
      window: WINDOW,
      messagesPerSecond: null,
      port: recorder.port,
    } as const
    const result = await runPublisher({ ...load, subscribers }, {}, true)
    expect(result.copies).toBeGreaterThan(100)
    expect(result.copies).toBeLessThanOrEqual(recorder.copies)
    // Of those behind the measured time not all.
    if (subscribers.qos === 0) expect(recorder.acksOfCopies).toBe(0)
    else expect(recorder.acksOfCopies).toBeGreaterThanOrEqual(result.copies ?? Number.NaN)
  })
}
