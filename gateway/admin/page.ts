/**
 * The page at `/` of the admin server, for a person who opens its address in a browser: how the
 * gateway stands in a few lines, and where to look further. Shows nothing that /metrics does not,
 * since it needs no token either. No script, nothing from another site; it reloads itself. Pure.
 */
import { createHash } from 'node:crypto'
import type { Health, Status } from '../ports/status.ts'

const REFRESH_SECONDS = 5

const STYLE = `
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
.state { border-left: .4rem solid #2a7d2e; padding-left: .7rem; } .bad { border-color: #c62828; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; vertical-align: top; } td:first-child { overflow-wrap: anywhere; } td.n { white-space: nowrap; } td.n, th.n { text-align: right; }
th { font-weight: 600; } tr + tr td { border-top: 1px solid #8886; }
code { font-size: .95em; } small { opacity: .7; } table { margin-top: 1rem; }
td.not { font-weight: 700; }
@media (max-width: 30rem) { body { font-size: 15px; padding: .6rem; } table { font-size: 14px; } th, td { padding-right: .35rem; } }
`

/** The page's own style and nothing else. */
export const PAGE_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
].join('; ')

export function pageHtml(status: Status, ready: Health): string {
  const { gateway, version, streams, sinks, broker } = status
  const state = ready.ok ? 'takes messages' : `takes no messages: ${ready.reasons.join('; ')}`
  const connected = broker === null ? '' : `, devices connected: ${number(broker.connections)}`
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sluice ${html(gateway)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="${REFRESH_SECONDS}"><style>${STYLE}</style></head><body>
<h1>Sluice gateway ${html(gateway)} <small>${html(version)}</small></h1>
<p class="state${ready.ok ? '' : ' bad'}">It ${html(state)}${connected}.</p>
${unroutedText(broker)}
${table(
  ['Stream', 'Waiting', 'Delivered', 'Dead', 'Delivery'],
  streams.map((stream) => [
    stream.name,
    number(stream.backlogRecords),
    number(stream.counters.delivered),
    number(stream.deadLetters.kept),
    stream.orphaned ? 'orphaned' : stream.delivery.state,
  ]),
)}
${table(
  ['Sink', 'State'],
  sinks.map((sink) => [sink.name, sink.state]),
)}
<h2>Where to look</h2>
${table(
  ['', ''],
  [
    ['<code>sluice status</code>', 'all of this with reasons, in a terminal'],
    [
      '<a href="api/status">/api/status</a>',
      'the same as JSON; needs the token if admin.token is set, or beyond loopback',
    ],
    [
      '<a href="metrics">/metrics</a>',
      'for Prometheus; a dashboard and alert rules are in dashboards/',
    ],
    ['<a href="readyz">/readyz</a>, <a href="livez">/livez</a>', 'probes'],
  ],
  (cell) => cell,
)}
<p><small>Taken at ${html(status.at)}, reloaded every ${REFRESH_SECONDS} s. README tells the rest.</small></p>
</body></html>
`
}

/**
 * I9: what was acknowledged and is stored nowhere. Without its topic, which is shown to holders of
 * the token only.
 */
function unroutedText(broker: Status['broker']): string {
  const accepted = broker?.unrouted.accepted ?? 0
  if (accepted === 0) return ''
  return `<p class="state bad">Acknowledged and kept nowhere, because no stream takes their topics: ${number(accepted)} since the start. <code>sluice status</code> names the last one.</p>`
}

const NOT_WELL: ReadonlySet<string> = new Set(['retrying', 'held', 'orphaned'])

function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  cell: (text: string) => string = html,
): string {
  const isNumber = (text: string | undefined): string =>
    /^[\d,]+$/.test(text ?? '') ? ' class="n"' : ''
  const isNot = (text: string): string => (NOT_WELL.has(text) ? ' class="not"' : isNumber(text))
  const headings = head
    .map((text, index) => `<th${isNumber(rows[0]?.[index])}>${html(text)}</th>`)
    .join('')
  const body = rows.map(
    (row) => `<tr>${row.map((text) => `<td${isNot(text)}>${cell(text)}</td>`).join('')}</tr>`,
  )
  return `<table>${head.every((text) => text === '') ? '' : `<tr>${headings}</tr>`}${body.join('')}</table>`
}

function number(value: number): string {
  return value.toLocaleString('en-US')
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function html(text: string): string {
  return text.replaceAll(/[&<>"']/g, (char) => ENTITIES[char] ?? char)
}
