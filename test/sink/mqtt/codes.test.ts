/**
 * What a broker can say, by one that says what a test tells it to: codes of CONNACK, PUBACK and
 * DISCONNECT in both versions, and what the protocol does not allow. Held, tried again or refused,
 * the answer quoted.
 */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { generate, type Packet, parser } from 'mqtt-packet'
import { afterEach, expect, test } from 'vitest'
import type { SinkAnswer } from '../../../gateway/ports/sink.ts'
import type { MqttSinkConfig } from '../../../gateway/sink/mqtt/config.ts'
import { createMqttSink } from '../../../gateway/sink/mqtt/sink.ts'
import { batchOf, never } from '../http/batches.ts'
import { mqttSinkConfig } from './configs.ts'

const closing: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

type Reply = (packet: Packet, send: (answer: Packet) => void, socket: Socket) => void

/** The answer to a batch of three records of a broker that answers as `reply` says. */
async function answerFrom(
  reply: Reply,
  changes: Partial<MqttSinkConfig> = {},
): Promise<SinkAnswer> {
  const version = changes.version ?? '5'
  const options = { protocolVersion: version === '5' ? 5 : 4 }
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    const packets = parser(options)
    const send = (answer: Packet): void => void socket.write(generate(answer, options))
    packets.on('packet', (packet) => reply(packet, send, socket))
    socket.on('data', (chunk) => packets.parse(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const config = mqttSinkConfig({ url: `mqtt://127.0.0.1:${port}`, version, ...changes })
  const sink = createMqttSink({ name: 'hub', config, emit: () => undefined })
  closing.push(async () => {
    await sink.close()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return await sink.send(batchOf(1, 3), never())
}

const connack = (code: number, reasonString?: string): Packet => ({
  cmd: 'connack',
  returnCode: code,
  reasonCode: code,
  sessionPresent: false,
  ...(reasonString === undefined ? {} : { properties: { reasonString } }),
})

/** Takes the connection, then answers each PUBLISH. */
const publishes =
  (answer: (id: number, send: (answer: Packet) => void, socket: Socket) => void): Reply =>
  (packet, send, socket) => {
    if (packet.cmd === 'connect') send(connack(0))
    else if (packet.cmd === 'publish') answer(packet.messageId ?? 0, send, socket)
  }

test.each([
  ['3.1.1', 1, 'hold', /does not speak this version/],
  ['3.1.1', 2, 'hold', /client id/],
  ['3.1.1', 3, 'retry', /not available/],
  ['3.1.1', 4, 'hold', /wrong user name or password/],
  ['3.1.1', 5, 'hold', /not authorized/],
  ['3.1.1', 77, 'hold', /0x4d: a code that the protocol does not have/],
  ['5', 1, 'hold', /set version to 3\.1\.1/],
  ['5', 0x86, 'hold', /0x86: wrong user name or password.*it says: no, edge/],
  ['5', 0x88, 'retry', /not available/],
  ['5', 0x89, 'retry', /busy/],
  ['5', 0x97, 'retry', /quota/],
  ['5', 0x9d, 'hold', /another server/],
] as const)('MQTT %s: CONNACK %i is a %s', async (version, code, kind, words) => {
  const answer = await answerFrom(
    (_, send) => send(connack(code, version === '5' ? 'no,\n edge' : undefined)),
    { version },
  )
  expect(answer).toMatchObject({ kind, scope: 'sink', unsent: true })
  expect('detail' in answer && answer.detail).toMatch(words)
  const isThrottled = code === 0x89 || code === 0x97
  expect('throttled' in answer).toBe(isThrottled)
})

test.each([
  [0x80, { kind: 'retry', scope: 'stream' }],
  [0x83, { kind: 'retry', scope: 'stream' }],
  [0x87, { kind: 'hold', scope: 'stream', code: '0x87' }],
  [0x97, { kind: 'retry', scope: 'sink', throttled: true }],
] as const)('PUBACK %i of the first message keeps all', async (reasonCode, wanted) => {
  const answer = await answerFrom(
    publishes((messageId, send) => send({ cmd: 'puback', messageId, reasonCode })),
  )
  expect(answer).toMatchObject(wanted)
})

test('what was acknowledged before a message that is not taken is settled', async () => {
  const answer = await answerFrom(
    publishes((messageId, send) =>
      send({ cmd: 'puback', messageId, reasonCode: messageId === 3 ? 0x97 : 0 }),
    ),
  )
  expect(answer).toMatchObject({ kind: 'verdicts', ackedThrough: 2, listed: [] })
})

test.each([
  ['puback', 1, 0x99],
  ['pubrec', 2, 0x99],
  ['puback', 1, 0x87],
  ['pubrec', 2, 0x87],
] as const)(
  '%s at QoS %i, %i: the password that it quotes is not shown',
  async (cmd, qos, code) => {
    const password = 'a-very-secret-word'
    const answer = await answerFrom(
      ({ cmd: asked, messageId = 0 }, send) => {
        if (asked === 'connect') send(connack(0))
        else if (asked === 'pubrel') send({ cmd: 'pubcomp', messageId, reasonCode: 0 })
        else if (asked === 'publish') {
          const properties = { reasonString: `not with ${password}` }
          send({ cmd, messageId, reasonCode: code, properties })
        }
      },
      { qos, username: 'edge', password: { value: password } },
    )
    expect(JSON.stringify(answer)).toContain('not with (hidden)')
    expect(JSON.stringify(answer)).not.toContain(password)
  },
)

test.each([1, 2] as const)('QoS %i: topic and payload can be refused of one', async (qos) => {
  const answer = await answerFrom(
    (packet, send) => {
      const { messageId = 0 } = packet
      const reasonCode = messageId === 2 ? 0x99 : 0
      if (packet.cmd === 'connect') send(connack(0))
      else if (packet.cmd === 'pubrel') send({ cmd: 'pubcomp', messageId, reasonCode: 0 })
      else if (packet.cmd === 'publish')
        send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId, reasonCode })
    },
    { qos },
  )
  expect(answer).toMatchObject({
    kind: 'verdicts',
    listed: [{ seq: 2, verdict: 'refused', code: '0x99' }],
  })
})

test.each([
  [0x8b, 'retry', /shutting down/],
  [0x8e, 'hold', /another client connected with the same client id \(sluice-edge-01-hub\)/],
  [0x93, 'hold', /set window lower/],
  [0x95, 'retry', /maxMessageBytes/],
  [0x96, 'retry', /too fast/],
] as const)('DISCONNECT %i is a %s', async (reasonCode, kind, words) => {
  const answer = await answerFrom(publishes((_, send) => send({ cmd: 'disconnect', reasonCode })))
  expect(answer).toMatchObject({ kind, scope: 'sink' })
  expect('detail' in answer && answer.detail).toMatch(words)
})

test.each<[string, Reply, RegExp]>([
  [
    'no MQTT',
    (_, __, socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
    /no MQTT packet/,
  ],
  ['SUBACK', (_, send) => send({ cmd: 'suback', messageId: 1, granted: [0] }), /with SUBACK/],
  [
    'an id that nothing has',
    publishes((id, send) => send({ cmd: 'puback', messageId: id + 100, reasonCode: 0 })),
    /PUBACK for packet id 101/,
  ],
  [
    'PUBREC at QoS 1',
    publishes((messageId, send) => send({ cmd: 'pubrec', messageId, reasonCode: 0 })),
    /PUBREC for packet id 1/,
  ],
  [
    'UNSUBACK',
    publishes((_, send) => send({ cmd: 'unsuback', messageId: 1, granted: [0] })),
    /UNSUBACK, unasked/,
  ],
])('what the protocol does not allow is held: %s', async (_, reply, words) => {
  const answer = await answerFrom(reply)
  expect(answer).toMatchObject({ kind: 'hold', scope: 'sink' })
  expect('detail' in answer && answer.detail).toMatch(words)
})

test.each([
  ['QoS 1 at most', { maximumQoS: 1 }, { qos: 2 }, /takes QoS 1 at most/],
  ['no retained messages', { retainAvailable: false }, { retain: true }, /retained/],
] as const)('a broker that offers less is held: %s', async (_, properties, changes, words) => {
  const answer = await answerFrom(
    (__, send) => send({ cmd: 'connack', reasonCode: 0, sessionPresent: false, properties }),
    changes,
  )
  expect(answer).toMatchObject({ kind: 'hold', scope: 'sink' })
  expect('detail' in answer && answer.detail).toMatch(words)
})

test('a broker that says nothing is given up, at CONNECT and later', async () => {
  const atConnect = await answerFrom(() => undefined, { connectTimeout: 200 })
  expect(atConnect).toMatchObject({ kind: 'retry', answered: false, unsent: true })
  const later = await answerFrom(
    publishes(() => undefined),
    { timeout: 200 },
  )
  expect(later).toMatchObject({ kind: 'retry', answered: false, transfer: { timedOut: true } })
})
