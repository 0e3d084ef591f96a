/**
 * What the standards ask of a server, played against a gateway, entry by entry; and against a
 * Mosquitto, so that an entry that asks too much is found. The table in the broker's document names
 * every statement.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FULL_ACCESS } from '../../gateway/broker/auth/access-rules.ts'
import type { Authenticate } from '../../gateway/broker/auth/authenticator.ts'
import { type Rig, startRig, stopRigs } from '../broker/harness.ts'
import { MosquittoServer } from '../support/mosquitto.ts'
import type { Level } from '../support/mqtt-answers.ts'
import { describeWithTool } from '../support/tool-tests.ts'
import { CASES } from './cases.ts'
import { play } from './player.ts'
import { type Case, ended, entry, GRANT, get, LARGEST_PACKET, send, WRONG_USER } from './script.ts'

const VERSIONS = [
  ['3.1.1', 4, 'v3'],
  ['5', 5, 'v5'],
] as const

function played(version: 'v3' | 'v5'): (readonly [string, number, Case])[] {
  return CASES.flatMap((each, number) => {
    const numbers = each[version]
    if (numbers.length === 0) return []
    const title = `${numbers.map((one) => `[MQTT-${one}]`).join(' ')} ${each.what}`
    return [[title, number, each] as const]
  })
}

const authenticate: Authenticate = async ({ username }) =>
  Promise.resolve(
    username === WRONG_USER
      ? { ok: false, returnCode: 4, reason: 'bad-credentials' }
      : { ok: true, principal: { user: null, version: 1, ...FULL_ACCESS } },
  )

async function startGateway(): Promise<Rig> {
  const limits = { maxUnackedMessages: GRANT, maxPacketBytes: LARGEST_PACKET }
  return startRig(limits, undefined, { authenticate })
}

describe.each(VERSIONS)('MQTT %s', (_, level: Level, version) => {
  let rig: Rig

  beforeAll(async () => {
    rig = await startGateway()
  })

  afterAll(stopRigs)

  test.concurrent.each(played(version))('%s', async (_title, number, each) => {
    await play(each, level, number, { port: rig.port, endsAsWritten: true })
  })
})

describeWithTool('mosquitto', 'Mosquitto meets every entry', () => {
  let server: MosquittoServer

  beforeAll(async () => {
    server = await MosquittoServer.start([`max_inflight_messages ${GRANT}`])
  })

  afterAll(async () => {
    await server.stop()
  })

  test.concurrent.each(VERSIONS)(
    'of MQTT %s but where it is noted',
    async (_, level: Level, version) => {
      const target = { port: server.port, endsAsWritten: false }
      const unmet = await Promise.all(
        played(version)
          .filter(([, , { mosquitto }]) => mosquitto === undefined)
          .map(async ([title, number, each]) =>
            play(each, level, number, target).then(
              () => null,
              (error: unknown) => `${title}: ${String(error)}`,
            ),
          ),
      )
      expect(unmet.filter((fault) => fault !== null)).toEqual([])
    },
  )
})

describe('the runner sees', () => {
  const faults: readonly (readonly [string, Case, RegExp])[] = [
    [
      'another answer',
      entry(['', '0'], '', (kit) => [
        ...kit.join('a'),
        send('a', kit.publish(kit.topic, 'x', { qos: 1, id: 1 })),
        get('a', 'PUBACK 2'),
      ]),
      /PUBACK 1/,
    ],
    [
      'a property too many',
      entry(['', '0'], '', (kit) => [
        ...kit.join('a'),
        ...kit.subscribe('a', kit.topic),
        send('a', kit.publish(kit.topic, 'x', { properties: { contentType: 'a' } })),
        get('a', `PUBLISH ${kit.topic} q0 x`),
      ]),
      /contentType/,
    ],
    [
      'a message that should not have come',
      entry(['', '0'], '', (kit) => [
        ...kit.join('a'),
        ...kit.subscribe('a', kit.topic),
        send('a', kit.publish(kit.topic, 'x')),
        { kind: 'quiet', client: 'a' },
      ]),
      /PUBLISH/,
    ],
    [
      'another reason to close',
      entry(['', '0'], '', (kit) => [
        ...kit.join('a'),
        send('a', Buffer.of(0, 0)),
        ended('a', 0x93),
      ]),
      /0x82/,
    ],
  ]

  afterAll(stopRigs)

  test.each(faults)('%s', async (_, fault, message) => {
    const { port } = await startGateway()
    await expect(play(fault, 5, 0, { port, endsAsWritten: true })).rejects.toThrow(message)
  })
})
