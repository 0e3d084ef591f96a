/** What the gateway shows of itself: the page, metrics, probes to anyone, the log to a viewer. */
import type { Operator } from '../../ports/operator.ts'
import type { Health, Views } from '../../ports/status.ts'
import { ConsoleFiles } from '../console-files.ts'
import { AdminError } from '../errors.ts'
import { type AdminAnswer, json, type Route, route } from './route.ts'

export function viewRoutes(views: Views, operator: Operator): readonly Route[] {
  const files = new ConsoleFiles()
  return [
    route({
      method: 'GET',
      path: '/',
      access: 'anyone',
      summary: 'The console for a browser.',
      answers: { status: 200, contentType: 'text/html' },
      handle: async ({ request }) =>
        (await files.answer('index.html', request.headers)) ?? (await page(views, operator)),
    }),
    route({
      method: 'GET',
      path: '/assets/{file}',
      access: 'anyone',
      summary: 'A file of the console; its name changes with its content.',
      answers: { status: 200, contentType: 'application/octet-stream' },
      handle: async ({ params, request }) => {
        const answer = await files.answer(`assets/${params.file}`, request.headers)
        if (answer === null) throw new AdminError('ADMIN_NOT_FOUND', 'no such file')
        return answer
      },
    }),
    // Browsers ask for it unprompted.
    route({
      method: 'GET',
      path: '/favicon.ico',
      access: 'anyone',
      summary: 'Empty.',
      answers: { status: 200, contentType: 'image/x-icon' },
      handle: async () => ({ status: 200, contentType: 'image/x-icon', body: '' }),
    }),
    route({
      method: 'GET',
      path: '/metrics',
      access: 'anyone',
      summary: 'Metrics for Prometheus.',
      answers: { status: 200, contentType: 'text/plain' },
      handle: async () => {
        const { contentType, text } = await views.metrics()
        return { status: 200, contentType, body: text }
      },
    }),
    route({
      method: 'GET',
      path: '/api/log',
      access: 'viewer',
      summary: 'The last lines of the log.',
      answers: { status: 200, contentType: 'application/x-ndjson' },
      handle: async () => ({
        status: 200,
        contentType: 'application/x-ndjson; charset=utf-8',
        body: views.recentLog(),
      }),
    }),
    probe('/livez', 'Does the process work? 503 with reasons if not.', () => views.live()),
    probe('/readyz', 'Are messages taken? 503 with reasons if not.', () => views.ready()),
  ]
}

function probe(path: string, summary: string, look: () => Health): Route {
  return route({
    method: 'GET',
    path,
    access: 'anyone',
    summary,
    answers: { status: 200, is: 'Health' },
    handle: async () => {
      const { ok, reasons } = look()
      return json(ok ? 200 : 503, { status: ok ? 'ok' : 'failed', reasons })
    },
  })
}

async function page(views: Views, operator: Operator): Promise<AdminAnswer> {
  // Loaded with the first request: a start loads nothing that no device waits for.
  const { PAGE_POLICY, pageHtml } = await import('../page.ts')
  const body = pageHtml(await operator.status(), views.ready())
  return { status: 200, contentType: 'text/html; charset=utf-8', body, policy: PAGE_POLICY }
}
