/** CONNECT and CONNACK of MQTT 5: what is granted, what is refused and why, how long a session lives. */
import { afterEach, describe, expect, test } from 'vitest'
import type { Authenticate } from '../../../gateway/broker/auth/authenticator.ts'
import { readConnack, readDisconnect, reasonText } from '../../support/mqtt-answers.ts'
import type { Properties } from '../../support/mqtt-properties.ts'
import { type ConnectFields, encodeFrame, packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { DEFAULTS, eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const LEVEL = { level: 5 } as const
const FOR_GOOD = 0xffff_ffff

async function connect(
  rig: Rig,
  fields: ConnectFields = {},
): Promise<Awaited<ReturnType<typeof RawMqtt.connect>>> {
  return await RawMqtt.connect(rig.port, { ...LEVEL, ...fields })
}

/** The code with which these bytes are refused, before the connection is closed. */
async function refusalOf(rig: Rig, bytes: Buffer): Promise<string> {
  const client = await RawMqtt.open(rig.port, 5)
  client.send(bytes)
  const { code } = readConnack(await client.next(TYPE.CONNACK), 5)
  await client.closed()
  expect(client.inbox, 'nothing behind CONNACK').toEqual([])
  return reasonText(code)
}

const refusalOfProperties = async (rig: Rig, properties: Properties): Promise<string> =>
  await refusalOf(rig, packet.connect({ ...LEVEL, clientId: 'd', properties }))

/** A CONNECT with these bytes as its properties, whatever they are. */
function withPropertyBytes(properties: Buffer): Buffer {
  const text = (words: string): Buffer =>
    Buffer.concat([Buffer.of(0, words.length), Buffer.from(words)])
  return encodeFrame(0x10, text('MQTT'), Buffer.of(5, 2, 0, 0), properties, text('d'))
}

describe('CONNACK', () => {
  test('tells what is granted: Receive Maximum, packet size, aliases [MQTT-3.2.2-15]', async () => {
    const rig = await startRig()
    const { granted, sessionPresent } = await connect(rig, { clientId: 'd' })
    expect(sessionPresent).toBe(false)
    expect(granted).toEqual({
      receiveMaximum: DEFAULTS.maxUnackedMessages,
      maximumPacketSize: DEFAULTS.maxPacketBytes,
      topicAliasMaximum: 20,
    })
  })

  test('names a client that has no name [MQTT-3.1.3-6, -7], also with Clean Start 0', async () => {
    const rig = await startRig()
    const names = new Set<string | undefined>()
    for (const clean of [true, false]) {
      const { granted } = await connect(rig, { clientId: '', clean })
      expect(granted.assignedClientIdentifier).toMatch(/^sluice-[0-9a-f]{16}$/)
      names.add(granted.assignedClientIdentifier)
    }
    expect(names.size).toBe(2)
  })

  test('says nothing of the session expiry that was asked for, and names a shorter one', async () => {
    const rig = await startRig({ sessionExpiry: 3_600_000 })
    const asked = { sessionExpiryInterval: 60 }
    const kept = await connect(rig, { clientId: 'a', properties: asked })
    expect(kept.granted.sessionExpiryInterval).toBeUndefined()
    for (const sessionExpiryInterval of [3_601, FOR_GOOD]) {
      const properties = { sessionExpiryInterval }
      const capped = await connect(rig, { clientId: `b${sessionExpiryInterval}`, properties })
      expect(capped.granted.sessionExpiryInterval).toBe(3_600)
    }
  })

  test('grants less where much is granted already, never less than 10, and more when it is back', async () => {
    const rig = await startRig({ maxUnackedMessages: 1_000, maxUnackedMessagesTotal: 1_000 })
    const grants: number[] = []
    const clients: RawMqtt[] = []
    for (let n = 0; n < 60; n += 1) {
      const client = await connect(rig, { clientId: `d${n}` })
      grants.push(client.granted.receiveMaximum ?? 65_535)
      clients.push(client)
    }
    expect(grants[0]).toBeGreaterThan(grants[20]!)
    expect(Math.min(...grants)).toBe(10)
    for (const client of clients) client.cut()
    await eventually(() => rig.broker.connections() === 0, 'all are gone')
    const again = await connect(rig, { clientId: 'again' })
    expect(again.granted.receiveMaximum).toBe(grants[0])
  })
})

describe('a CONNECT that is refused', () => {
  test.each([
    ['Receive Maximum 0', { receiveMaximum: 0 }, '0x82'],
    ['Maximum Packet Size 0 [3.1.2.11.4]', { maximumPacketSize: 0 }, '0x82'],
    ['Request Problem Information 2', { requestProblemInformation: 2 }, '0x82'],
    ['Request Response Information 2', { requestResponseInformation: 2 }, '0x82'],
    ['a method of authentication [MQTT-4.12.0-1]', { authenticationMethod: 'SCRAM' }, '0x8c'],
    ['data of authentication without a method', { authenticationData: Buffer.of(1) }, '0x82'],
    ['a property that belongs elsewhere [2.2.2.2]', { topicAlias: 1 }, '0x81'],
    ['a property of servers', { serverKeepAlive: 1 }, '0x81'],
    ['a Will Delay Interval outside of the will', { willDelayInterval: 1 }, '0x81'],
  ] as const)('%s', async (_name, properties, code) => {
    const rig = await startRig()
    expect(await refusalOfProperties(rig, properties)).toBe(code)
  })

  test.each([
    ['a property twice', '0a 11 0000000a 11 0000000a', '0x82'],
    ['an unknown property', '02 3f 00', '0x81'],
    ['a property that is cut off by the length of the block', '03 11 0000', '0x81'],
    ['a block longer than the packet', '7f 11 0000000a', '0x81'],
    ['a block length in more bytes than it needs [MQTT-1.5.5-1]', '80 00', '0x81'],
    ['a block length of five bytes', '80 80 80 80 01', '0x81'],
    ['a user property with U+0000 [MQTT-1.5.4-2]', '08 26 0001 61 0002 62 00', '0x81'],
    ['a user property with a surrogate [MQTT-1.5.4-1]', '09 26 0001 61 0003 eda080', '0x81'],
    ['a user property without a value', '04 26 0001 61', '0x81'],
  ] as const)('%s', async (_name, hex, code) => {
    const rig = await startRig()
    const properties = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    expect(await refusalOf(rig, withPropertyBytes(properties))).toBe(code)
  })

  test.each([
    ['the reserved flag [MQTT-3.1.2-3]', 0x03, '0x81'],
    ['will QoS 3 [MQTT-3.1.2-12]', 0x1e, '0x81'],
    ['will QoS without a will [MQTT-3.1.2-11]', 0x0a, '0x81'],
    ['will retain without a will [MQTT-3.1.2-13]', 0x22, '0x81'],
  ] as const)('%s', async (_name, flags, code) => {
    const rig = await startRig()
    const bytes = packet.connect({ ...LEVEL, clientId: 'd' })
    bytes[9] = flags
    expect(await refusalOf(rig, bytes)).toBe(code)
  })

  test('version 6: 0x84, as version 5 says it [MQTT-3.1.2-2]', async () => {
    const rig = await startRig()
    expect(await refusalOf(rig, packet.connect({ level: 6, clientId: 'd' }))).toBe('0x84')
  })

  test('cut off at every byte, no CONNECT opens or ends anything but its own connection', async () => {
    const rig = await startRig()
    const whole = packet.connect({
      ...LEVEL,
      clientId: 'd',
      username: 'u',
      password: 'p',
      properties: { sessionExpiryInterval: 1, userProperties: [['a', 'b']] },
      will: {
        topic: 't/w',
        payload: 'x',
        properties: { contentType: 'text', willDelayInterval: 1 },
      },
    })
    const honest = await connect(rig, { clientId: 'honest' })
    for (let length = 2; length < whole.length; length += 1) {
      // The frame says that it is whole.
      const cut = encodeFrame(0x10, whole.subarray(2, length))
      const client = await RawMqtt.open(rig.port, 5)
      client.send(cut)
      await client.closed()
      for (const frame of client.inbox) expect(readConnack(frame, 5).code).toBeGreaterThan(0x80)
    }
    await honest.roundTrip()
    expect(rig.broker.stats.connectionsOpened).toBe(1)
  })

  test('a wrong password: 0x86; a missing name: 0x87', async () => {
    const authenticate: Authenticate = async ({ username }) =>
      Promise.resolve(
        username === null
          ? { ok: false, returnCode: 5, reason: 'no-credentials' }
          : { ok: false, returnCode: 4, reason: 'bad-credentials' },
      )
    const rig = await startRig({}, undefined, { authenticate })
    const wrong = packet.connect({ ...LEVEL, clientId: 'd', username: 'u', password: 'x' })
    expect(await refusalOf(rig, wrong)).toBe('0x86')
    expect(await refusalOf(rig, packet.connect({ ...LEVEL, clientId: 'd' }))).toBe('0x87')
  })

  test('a password without a user name is none: version 5 has that [3.1.2.9]', async () => {
    const rig = await startRig()
    await connect(rig, { clientId: 'd', password: 'token' })
  })
})

describe('a session', () => {
  const lasting = { sessionExpiryInterval: 60 }

  test('of expiry 0 ends with its connection, whatever Clean Start says', async () => {
    const rig = await startRig()
    const first = await connect(rig, { clientId: 'd', clean: false })
    await first.end()
    expect((await connect(rig, { clientId: 'd', clean: false })).sessionPresent).toBe(false)
  })

  test('with an expiry goes on, with its open QoS 2 id [MQTT-3.1.2-5], [MQTT-3.2.2-3]', async () => {
    const rig = await startRig()
    const first = await connect(rig, { clientId: 'd', properties: lasting })
    first.send(packet.publish('t/1', 'once', { qos: 2, id: 7, properties: {} }))
    await first.acks(1, TYPE.PUBREC)
    first.cut()
    const again = await connect(rig, { clientId: 'd', clean: false, properties: lasting })
    expect(again.sessionPresent).toBe(true)
    again.send(packet.publish('t/1', 'once', { qos: 2, id: 7, dup: true, properties: {} }))
    await again.acks(1, TYPE.PUBREC)
    expect(rig.appender.payloads('telemetry')).toEqual(['once'])
  })

  test('is discarded by Clean Start 1 [MQTT-3.1.2-4], [MQTT-3.2.2-2]', async () => {
    const rig = await startRig()
    const first = await connect(rig, { clientId: 'd', properties: lasting })
    await first.end()
    const fresh = await connect(rig, { clientId: 'd', clean: true, properties: lasting })
    expect(fresh.sessionPresent).toBe(false)
  })

  test('goes on over a restart of the gateway, and one of expiry 0 does not', async () => {
    const rig = await startRig()
    await connect(rig, { clientId: 'stays', properties: lasting })
    await connect(rig, { clientId: 'goes', clean: false })
    const resumed = await connect(rig, { clientId: 'shortened', properties: lasting })
    await resumed.end()
    await connect(rig, { clientId: 'shortened', clean: false })
    await rig.stop()
    const later = await startRig({}, rig.appender.crash())
    for (const [clientId, present] of [
      ['stays', true],
      ['goes', false],
      ['shortened', false],
    ] as const) {
      const client = await connect(later, { clientId, clean: false, properties: lasting })
      expect(client.sessionPresent, clientId).toBe(present)
    }
  })

  test('lives as long as DISCONNECT says', async () => {
    const rig = await startRig()
    const first = await connect(rig, { clientId: 'd', properties: lasting })
    first.send(packet.disconnect({ code: 0, properties: { sessionExpiryInterval: 0 } }))
    await first.closed()
    expect((await connect(rig, { clientId: 'd', clean: false })).sessionPresent).toBe(false)
  })

  test('of expiry 0 cannot be given one with DISCONNECT [3.14.2.2.2]', async () => {
    const rig = await startRig()
    const client = await connect(rig, { clientId: 'd' })
    client.send(packet.disconnect({ code: 0, properties: { sessionExpiryInterval: 1 } }))
    expect(readDisconnect(await client.next(TYPE.DISCONNECT)).code).toBe(0x82)
    await client.closed()
  })
})
