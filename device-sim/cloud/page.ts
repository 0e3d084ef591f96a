/**
 * The page at `/` of the reference cloud: what has arrived and where to look further, for a
 * browser. No script, nothing from elsewhere; it asks for itself again. What devices chose (names,
 * topics, payloads) is escaped. Pure.
 */
import { createHash } from 'node:crypto'
import { count } from '../table.ts'
import type { LatestReading } from './latest.ts'
import type { CloudStats } from './stats.ts'

const REFRESH_SECONDS = 2

const STYLE = `
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
p.numbers b { font-size: 1.2rem; } p.bad { border-left: .4rem solid #c62828; padding-left: .7rem; }
ul { list-style: none; padding: 0; margin: 0; } li { padding: .3rem 0; border-top: 1px solid #8886; overflow-wrap: anywhere; }
code { font-size: .9em; } small { opacity: .7; }
@media (max-width: 30rem) { body { font-size: 15px; padding: .6rem; } }
`

/** The page's own style and nothing else. */
export const PAGE_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
].join('; ')

/** @param ingestUrl where gateways post */
export function pageHtml(
  stats: CloudStats,
  readings: readonly LatestReading[],
  ingestUrl: string,
): string {
  const wrong = [
    ...(stats.missingSeqs > 0
      ? [`${count(stats.missingSeqs)} records are missing without a reported gap`]
      : []),
    ...(stats.violations > 0
      ? [
          `${count(stats.violations)} requests broke the ingest contract: ${stats.violationExamples[0] ?? ''}`,
        ]
      : []),
  ]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Reference cloud</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="${REFRESH_SECONDS}"><style>${STYLE}</style></head><body>
<h1>Reference cloud</h1>
<p class="numbers">Readings stored: <b>${count(stats.records)}</b>; since the start ${count(stats.stored)}, in batches: ${count(stats.batches)},
repeats removed: ${count(stats.repeats)}, gaps reported: ${count(stats.gaps)}.</p>
${wrong.map((text) => `<p class="bad">${html(text)}</p>`).join('\n')}
<h2>Latest readings, one of each device</h2>
<ul>
${readings.length === 0 ? `<li>None has come since the start. Gateways post to <code>${html(ingestUrl)}</code>; is one running, and did a device publish?</li>` : readings.map(item).join('\n')}
</ul>
<h2>Where to look</h2>
<ul>
<li><a href="/stats">/stats</a> counts, per stream too; <a href="/metrics">/metrics</a> for Prometheus</li>
<li><a href="/records?limit=100">/records?limit=100</a> stored records as NDJSON; <code>after</code>, <code>stream</code>, <code>device</code> narrow it</li>
<li><a href="/faults">/faults</a> what goes wrong on request; <code>sluice-sim cloud --help</code> says how</li>
</ul>
<p><small>Anew every ${REFRESH_SECONDS} s.</small></p>
</body></html>
`
}

function item({ storedAtMs, stream, device, topic, payload }: LatestReading): string {
  const time = new Date(storedAtMs).toISOString().slice(11, 19)
  return `<li><b>${html(device)}</b> <small>${time} UTC, stream ${html(stream)}, ${html(topic)}</small><br><code>${html(payload)}</code></li>`
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
