/** The table of devices. */
import { z } from 'zod'
import type { RunningOperator } from '../../ports/operator.ts'
import { json, pageLimit, type Route, route } from './route.ts'

const MAX_DEVICES = 1_000

const Page = z.object({
  search: z.string().max(512, 'search is a part of an id, of at most 512 characters').prefault(''),
  sort: z.enum(['lastSeen', 'name', 'rate'], 'sort is lastSeen, name or rate').prefault('lastSeen'),
  silent: z.enum(['true', 'false'], 'silent is true or false').prefault('false'),
  limit: pageLimit(MAX_DEVICES),
  after: z.string().max(1_024, 'after is the "next" of the page before').optional(),
})

export function deviceRoutes(operator: RunningOperator): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/devices',
      access: 'viewer',
      summary: 'A page of the devices that the gateway remembers.',
      query: Page,
      answers: { status: 200, is: 'DevicePage' },
      handle: async ({ query: { search, sort, silent, limit, after = null } }) =>
        json(
          200,
          await operator.devices({ search, sort, silent: silent === 'true', limit, after }),
        ),
    }),
    route({
      method: 'DELETE',
      path: '/api/devices/{device}',
      access: 'operator',
      summary: 'Forgets a device that is gone for good: no stream waits for it any more.',
      answers: { status: 200, is: 'Forgotten' },
      handle: async ({ params: { device } }) => {
        await operator.forgetDevice(device)
        return json(200, { forgotten: device })
      },
    }),
  ]
}
