/** What an operator does about sinks. */
import { z } from 'zod'
import type { RunningOperator } from '../../ports/operator.ts'
import type { TrialMessage, Trials } from '../../ports/trials.ts'
import { json, type Route, route } from './route.ts'

/** What a try sends if nothing else is given: marked, for whoever finds it there. */
const TEST_MESSAGE = '{"sluice":"test"}'

const Message = z.strictObject({
  payload: z.string().max(65_536).default(TEST_MESSAGE),
  topic: z.string().min(1).nullable().default(null),
  stream: z.string().nullable().default(null),
  device: z.string().min(1).nullable().default(null),
})

const WANTED =
  '{"payload": "<text>", "topic": "<topic>", "stream": "<name>", "device": "<id>"}, each or none'

export function sinkRoutes(operator: RunningOperator, trials: Trials): readonly Route[] {
  const trial = { method: 'POST', access: 'operator', body: Message, wanted: WANTED } as const
  return [
    route({
      method: 'POST',
      path: '/api/sinks/{sink}/retry',
      access: 'operator',
      summary: 'Probes the sink now, and says how it stood.',
      answers: { status: 202, is: 'Retrying' },
      handle: async ({ params: { sink } }) => {
        return json(202, { retrying: sink, state: await operator.retrySink(sink) })
      },
    }),
    route({
      ...trial,
      path: '/api/sinks/{sink}/preview',
      summary: 'What a message would become in the sink; sends nothing.',
      answers: { status: 200, is: 'SinkPreview' },
      handle: async ({ params: { sink }, body }) =>
        json(200, { sink, preview: await trials.preview(trialOf(sink, body)) }),
    }),
    route({
      ...trial,
      path: '/api/sinks/{sink}/test',
      isSlow: true,
      summary: 'Sends one marked record beside the running sink, and explains the answer.',
      answers: { status: 200, is: 'SinkTrial' },
      handle: async ({ params: { sink }, body }) => {
        const { id, target, taken, meaning, answer } = await trials.trySink(trialOf(sink, body))
        return json(200, { sink, id, target, taken, meaning, code: answer.code })
      },
    }),
  ]
}

function trialOf(sink: string, message: z.infer<typeof Message>): TrialMessage {
  const { payload, topic, stream, device } = message
  return { sink, stream, topic, device, message: Buffer.from(payload) }
}
