/** The client's errors, as it throws them, and what they mean. */
import { expect, test } from 'vitest'
import { answerTo } from '../../../gateway/sink/kafka/answers.ts'

const failed = (message: string, members: object) => Object.assign(new Error(message), members)

const partition = (id: string, index: number) =>
  failed('as Kafka puts it', {
    code: 'PLT_KFK_PROTOCOL',
    apiId: id,
    path: `/responses/0/partition_responses/${index}`,
  })

function produced(...ids: string[]): Error {
  const response = { responses: [{ name: 'plant' }] }
  const errors = ids.map(partition)
  return failed('Producing messages failed.', {
    code: 'PLT_KFK_MULTIPLE',
    errors: [
      failed('Received response with error', { code: 'PLT_KFK_RESPONSE', errors, response }),
    ],
  })
}

test('where partitions disagree, the most careful meaning counts', () => {
  const kinds = (...ids: string[]) =>
    answerTo(produced(...ids), { target: 'a:1', unsent: false, shown: {} }).kind
  expect(kinds('INVALID_RECORD')).toBe('refused')
  expect(kinds('INVALID_RECORD', 'MESSAGE_TOO_LARGE')).toBe('too-large')
  expect(kinds('MESSAGE_TOO_LARGE', 'NOT_ENOUGH_REPLICAS')).toBe('retry')
  expect(kinds('NOT_ENOUGH_REPLICAS', 'TOPIC_AUTHORIZATION_FAILED', 'INVALID_RECORD')).toBe('hold')
})

test('a code that nobody knows holds, and is quoted', () => {
  const answer = answerTo(produced('NEW_IN_KAFKA_9'), { target: 'a:1', unsent: false, shown: {} })
  expect(answer).toMatchObject({ kind: 'hold', scope: 'stream', code: 'NEW_IN_KAFKA_9' })
  expect('detail' in answer && answer.detail).toBe(
    'a:1 answered NEW_IN_KAFKA_9 for topic plant; this code is not known here: nothing is given up for it',
  )
})

test('a broker that quotes the password, whole or cut, is not quoted', () => {
  const sasl = { mechanism: 'PLAIN', username: 'edge', password: 'a-very-secret-word' } as const
  for (const blanks of [1, 185]) {
    const error = failed('SASL authentication failed.', {
      code: 'PLT_KFK_PROTOCOL',
      apiId: 'SASL_AUTHENTICATION_FAILED',
      serverErrorMessage: `no,${'-'.repeat(blanks)}a-very-secret-word`,
    })
    const answer = answerTo(error, { target: 'a:1', unsent: true, shown: { sasl } })
    expect(answer).toMatchObject({ kind: 'hold', code: 'SASL_AUTHENTICATION_FAILED' })
    expect(answer).toHaveProperty('detail', expect.stringContaining('(hidden)'))
    expect(JSON.stringify(answer)).not.toContain('a-very')
  }
})

test('what the client says itself', () => {
  expect(
    answerTo(failed('Unknown topic plant.', { code: 'PLT_KFK_USER' }), {
      target: 'a:1',
      unsent: true,
      shown: {},
    }),
  ).toMatchObject({
    kind: 'hold',
    scope: 'stream',
    code: 'UNKNOWN_TOPIC_OR_PARTITION',
    unsent: true,
  })
  expect(
    answerTo(failed('Broker requires TLS.', { code: 'PLT_KFK_USER' }), {
      target: 'a:1',
      unsent: true,
      shown: {},
    }),
  ).toMatchObject({
    kind: 'hold',
    scope: 'sink',
  })
  const cause = failed('connect ECONNREFUSED', { code: 'ECONNREFUSED' })
  const network = failed('Cannot connect', { code: 'PLT_KFK_NETWORK', cause })
  const answer = answerTo(failed('twice', { code: 'PLT_KFK_MULTIPLE', errors: [network] }), {
    target: 'a:1',
    unsent: true,
    shown: {},
  })
  expect(answer).toMatchObject({
    kind: 'retry',
    scope: 'sink',
    answered: false,
    code: 'ECONNREFUSED',
  })
})

test.each([null, undefined, 'text', {}, new Error('odd')])(
  'anything else is tried again: %s',
  (odd) => {
    expect(answerTo(odd, { target: 'a:1', unsent: false, shown: {} })).toMatchObject({
      kind: 'retry',
      answered: false,
      unsent: false,
    })
  },
)
