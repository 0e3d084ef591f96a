/** The live view of the gateway. */
import type { EventStreams } from '../live/event-streams.ts'
import { type Route, route } from './route.ts'

export function eventRoutes(streams: EventStreams): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/events',
      access: 'viewer',
      summary: 'A snapshot each second, and warnings of the log as they come.',
      answers: { status: 200, contentType: 'text/event-stream' },
      handle: async ({ request }) => {
        streams.checkRoom()
        return {
          status: 200,
          contentType: 'text/event-stream; charset=utf-8',
          // nginx would keep them until its buffer is full.
          headers: { 'X-Accel-Buffering': 'no' },
          body: (out) => streams.attach(out, request.mayStay),
        }
      },
    }),
  ]
}
