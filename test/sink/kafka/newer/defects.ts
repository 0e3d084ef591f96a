/** The conformance suite catches what the Kafka sink could get wrong. */
import { afterEach, expect, test, vi } from 'vitest'
import { ProducerSession } from '../../../../gateway/sink/kafka/session.ts'
import { CHECKS, openBench } from '../../conformance.ts'
import { kafkaHarness } from '../harness.ts'

type Send = (
  this: ProducerSession,
  messages: Parameters<ProducerSession['send']>[0],
) => Promise<void>

const send: Send = Reflect.get(ProducerSession.prototype, 'send')

afterEach(() => {
  vi.restoreAllMocks()
})

async function fails(check: string): Promise<boolean> {
  const { bench, close } = await openBench('kafka', kafkaHarness)
  const failed = await CHECKS[check]?.(bench).then(
    () => false,
    () => true,
  )
  await close()
  return failed ?? false
}

const LOST = 'I4: an answer that got lost is no ack, and the batch is taken again'
const ORDER = 'a batch is acked when it is there, and batches keep their order'

test('without a defect the checks pass', async () => {
  expect(await fails(LOST)).toBe(false)
  expect(await fails(ORDER)).toBe(false)
})

test('acks what was handed to the client, before the brokers answered: caught', async () => {
  vi.spyOn(ProducerSession.prototype, 'send').mockImplementation(async function (
    this: ProducerSession,
    messages,
  ) {
    send.call(this, messages).catch(() => undefined)
  })
  expect(await fails(LOST)).toBe(true)
})

test('leaves out the last record of a batch: caught', async () => {
  vi.spyOn(ProducerSession.prototype, 'send').mockImplementation(async function (
    this: ProducerSession,
    messages,
  ) {
    await send.call(this, messages.slice(0, -1))
  })
  expect(await fails(ORDER)).toBe(true)
})
