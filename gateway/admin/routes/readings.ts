/** Test readings: each stage of a reading's way, with its time. */
import { z } from 'zod'
import type { Trials } from '../../ports/trials.ts'
import { AdminError } from '../errors.ts'
import { json, type Route, route } from './route.ts'

export function readingRoutes(trials: Trials): readonly Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/test-reading',
      access: 'operator',
      summary: 'Sends a reading on the way of every reading, and says how far it came.',
      body: z.strictObject({
        topic: z.string().min(1).max(65_535).optional(),
        payload: z.string().max(65_536).optional(),
      }),
      wanted: '{"topic": "<topic>", "payload": "<text>"}, each or none',
      answers: { status: 200, is: 'TestReading' },
      handle: async ({ body: { topic = null, payload } }) => {
        const bytes = payload === undefined ? null : Buffer.from(payload)
        return json(200, await trials.sendReading(topic, bytes))
      },
    }),
    route({
      method: 'GET',
      path: '/api/test-reading/{id}',
      access: 'viewer',
      summary: 'How far a test reading has come.',
      answers: { status: 200, is: 'TestReading' },
      handle: async ({ params: { id } }) => {
        const reading = trials.reading(id)
        if (reading === null)
          throw new AdminError('ADMIN_NOT_FOUND', 'that test reading is not known any more')
        return json(200, reading)
      },
    }),
  ]
}
