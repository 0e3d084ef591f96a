/**
 * Sessions of QoS 2 at a broker that goes by packet ids alone, as the specification lets it: a
 * message under an id that is in use is a repeat, whatever it says. What was in flight of a batch
 * that is no more must not make new readings into repeats.
 */
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { generate, type Packet, parser } from 'mqtt-packet'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Batch } from '../../../gateway/ports/sink.ts'
import { createMqttSink } from '../../../gateway/sink/mqtt/sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { batchOf, never } from '../http/batches.ts'
import { mqttSinkConfig } from './configs.ts'

/** One client's. */
class SessionBroker {
  readonly delivered: number[] = []
  /** Takes what comes, and cuts the connection instead of an answer. */
  isMute = false
  /** In the words of EMQX. */
  repeatCode = 0
  #held: Map<number, number> | null = null
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor() {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      const packets = parser({ protocolVersion: 5 })
      packets.on('packet', (packet) => {
        const answer = this.#take(packet)
        if (answer !== null) socket.write(generate(answer, { protocolVersion: 5 }))
        else if (packet.cmd !== 'disconnect') setImmediate(() => socket.destroy())
      })
      socket.on('data', (chunk) => packets.parse(chunk))
    })
  }

  async url(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `mqtt://127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  #take(packet: Packet): Packet | null {
    const { messageId = 0 } = packet
    switch (packet.cmd) {
      case 'connect': {
        const sessionPresent = packet.clean !== true && this.#held !== null
        if (!sessionPresent) this.#held = new Map()
        return { cmd: 'connack', reasonCode: 0, sessionPresent }
      }
      case 'publish': {
        const isRepeat = this.#held?.has(messageId) === true
        const { seq } = JSON.parse(packet.payload.toString()) as { readonly seq: number }
        if (!isRepeat) this.#held?.set(messageId, seq)
        if (this.isMute) return null
        return { cmd: 'pubrec', messageId, reasonCode: isRepeat ? this.repeatCode : 0 }
      }
      case 'pubrel': {
        const seq = this.#held?.get(messageId)
        if (seq !== undefined) this.delivered.push(seq)
        const isThere = this.#held?.delete(messageId) === true
        return { cmd: 'pubcomp', messageId, reasonCode: isThere ? 0 : 0x92 }
      }
      default:
        return packet.cmd === 'pingreq' ? { cmd: 'pingresp' } : null
    }
  }
}

let broker: SessionBroker
let url: string
const sinks: ConfiguredSink[] = []
beforeEach(async () => {
  broker = new SessionBroker()
  url = await broker.url()
})
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close()
  broker.close()
})

/** As after a start. */
function sinkTo(): ConfiguredSink {
  const config = mqttSinkConfig({ url, version: '5', qos: 2, message: 'record' })
  const sink = createMqttSink({ name: 'hub', config, emit: () => undefined })
  sinks.push(sink)
  return sink
}

/** Its note outlives a sink. */
function pinned(firstSeq: number, lastSeq: number): Batch {
  let kept: string | null = null
  return {
    ...batchOf(firstSeq, lastSeq),
    get note() {
      return kept
    },
    keepNote: async (note) => {
      kept = note
    },
  }
}

test.each(['by this process', 'by one before'])(
  'readings behind a batch that was given up %s are no repeats',
  async (by) => {
    broker.isMute = true
    const former = sinkTo()
    expect(await former.send(pinned(1, 5), never())).toMatchObject({ kind: 'retry' })
    broker.isMute = false
    const sink = by === 'by one before' ? sinkTo() : former
    expect(await sink.send(pinned(6, 10), never())).toMatchObject({ kind: 'verdicts', listed: [] })
    expect(broker.delivered).toEqual([6, 7, 8, 9, 10])
    expect(sink.promise.delivery).toBe('exactly once')
  },
)

test.each([0, 0x91])('a batch that goes on is known by its ids, answered 0x%i', async (code) => {
  broker.repeatCode = code
  broker.isMute = true
  const batch = pinned(1, 5)
  expect(await sinkTo().send(batch, never())).toMatchObject({ kind: 'retry' })
  broker.isMute = false
  const sink = sinkTo()
  expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts', listed: [] })
  expect(broker.delivered).toEqual([1, 2, 3, 4, 5])
  expect(sink.promise.delivery).toBe('exactly once')
})

test('without room for a note nothing is published', async () => {
  const keepNote = async (): Promise<void> => await Promise.reject(new Error('no space left'))
  expect(await sinkTo().send({ ...pinned(1, 5), keepNote }, never())).toMatchObject({
    kind: 'retry',
    scope: 'stream',
    unsent: true,
    detail: 'nothing more was sent: no space left',
  })
})
