/** What the gateway shows of itself: the page, metrics, probes to anyone, the log to an operator. */
import type { Operator } from '../../ports/operator.ts'
import type { Health, Views } from '../../ports/status.ts'
import { type AdminAnswer, json, type Route } from './route.ts'

export function viewRoutes(views: Views, operator: Operator): readonly Route[] {
  return [
    { method: 'GET', path: /^\/$/, handle: () => page(views, operator) },
    // Browsers ask for it unprompted.
    {
      method: 'GET',
      path: /^\/favicon\.ico$/,
      handle: async () => ({ status: 200, contentType: 'image/x-icon', body: '' }),
    },
    { method: 'GET', path: /^\/metrics$/, handle: () => metrics(views) },
    {
      method: 'GET',
      path: /^\/api\/log$/,
      handle: async () => ({
        status: 200,
        contentType: 'application/x-ndjson; charset=utf-8',
        body: views.recentLog(),
      }),
    },
    { method: 'GET', path: /^\/livez$/, handle: async () => health(views.live()) },
    { method: 'GET', path: /^\/readyz$/, handle: async () => health(views.ready()) },
  ]
}

async function page(views: Views, operator: Operator): Promise<AdminAnswer> {
  // Loaded with the first request: a start loads nothing that no device waits for.
  const { PAGE_POLICY, pageHtml } = await import('../page.ts')
  const body = pageHtml(await operator.status(), views.ready())
  return { status: 200, contentType: 'text/html; charset=utf-8', body, policy: PAGE_POLICY }
}

async function metrics(views: Views): Promise<AdminAnswer> {
  const { contentType, text } = await views.metrics()
  return { status: 200, contentType, body: text }
}

function health({ ok, reasons }: Health): AdminAnswer {
  return json(ok ? 200 : 503, { status: ok ? 'ok' : 'failed', reasons })
}
