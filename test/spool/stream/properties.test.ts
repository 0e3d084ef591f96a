/** Properties of MQTT 5 in the records of a stream that names them, through a spool on disk. */
import { describe, expect, it } from 'vitest'
import type { MessageProperties } from '../../../gateway/ports/appender.ts'
import {
  durable,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
  STREAM,
} from '../../support/spool-fixture.ts'
import { deliverAll, useFolder } from '../../support/spool-test.ts'

const folder = useFolder()

const PROPERTIES: MessageProperties = {
  expirySeconds: null,
  payloadFormat: 1,
  contentType: 'application/json',
  responseTopic: 'replies/7',
  correlationData: Buffer.from('7'),
  userProperties: [
    ['unit', 'C'],
    ['unit', 'K'],
  ],
}

const NAMING = { ...STREAM, properties: ['contentType', 'userProperties'] as const }

describe('a stream that names properties', () => {
  it('has them in its records, and only them; another stream has none', async () => {
    const streams = { telemetry: NAMING, plain: STREAM }
    const { spool } = await openSpool(folder.path, { streams })
    const to = lanes(spool, 'd', 't')
    expect(to.map(({ stream }) => stream.wantsProperties)).toEqual([true, false])
    spool.appender.append(to, message('1', { properties: PROPERTIES }))
    await durable(spool, spool.appender.append(to, message('2')))

    const named = await pinNext(queueOf(spool), 10)
    const plain = await pinNext(queueOf(spool, 'plain'), 10)
    if (!named || !plain) throw new Error('nothing pending')
    const [first, second] = await linesOf(named)
    expect(first).toMatchObject({
      contentType: 'application/json',
      userProperties: [
        ['unit', 'C'],
        ['unit', 'K'],
      ],
      payload: 1,
    })
    expect(Object.keys(first ?? {})).toEqual([
      'id',
      'seq',
      'device',
      'topic',
      'qos',
      'receivedAt',
      'contentType',
      'userProperties',
      'payload',
    ])
    for (const line of [second, ...(await linesOf(plain))])
      expect(Object.keys(line ?? {})).toEqual([
        'id',
        'seq',
        'device',
        'topic',
        'qos',
        'receivedAt',
        'payload',
      ])
    await spool.stop()
  })

  it('I6: counts them against maxRecordBytes, and what is too large is a dead letter with them', async () => {
    const { spool } = await openSpool(folder.path, {
      streams: { telemetry: { ...NAMING, maxRecordBytes: 300 } },
    })
    const to = lanes(spool, 'd', 't')
    const payload = `"${'x'.repeat(200)}"`
    const heavy = { ...PROPERTIES, contentType: 'y'.repeat(200) }
    await durable(spool, spool.appender.append(to, message(payload, { properties: heavy })))
    expect(queueOf(spool).pendingRecords).toBe(0)
    const [letter] = await spool.deadLetters.list('telemetry', null, 10)
    expect(letter?.reason).toMatch(
      /^payload of 202 bytes with properties of \d+ bytes is above maxRecordBytes 300$/,
    )
    expect(letter?.truncated).toBeNull()
    expect(JSON.parse(letter?.line ?? '')).toMatchObject({ contentType: heavy.contentType })

    await spool.deadLetters.requeue('telemetry', 'all')
    const [record] = await deliverAll(spool)
    expect(record).toMatchObject({ contentType: heavy.contentType, payload: 'x'.repeat(200) })
    await spool.stop()
  })

  it('I6: a dead letter that is cut has none of them', async () => {
    const deadLetters = { ...STREAM.deadLetters, maxBytes: 2_500 }
    const { spool } = await openSpool(folder.path, {
      streams: { telemetry: { ...NAMING, maxRecordBytes: 300, deadLetters } },
    })
    const heavy = { ...PROPERTIES, contentType: 'y'.repeat(60_000) }
    const to = lanes(spool, 'd', 't')
    await durable(spool, spool.appender.append(to, message('1', { properties: heavy })))
    const [letter] = await spool.deadLetters.list('telemetry', null, 10)
    expect(letter?.truncated).toMatchObject({ bytes: 1 })
    expect(letter?.line.length).toBeLessThan(1_000)
    expect(letter?.line).not.toContain('contentType')
    await spool.stop()
  })
})
