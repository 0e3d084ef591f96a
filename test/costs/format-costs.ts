/**
 * A program that prints, as JSON, the processor of a record in each encoded format of the http sink, beside JSON.parse and
 * JSON.stringify of the same record: pairs taken in turns, so that a busy machine slows both. Both
 * begin at the line in a block: taking it apart is the encoder's cost.
 */
import assert from 'node:assert/strict'
import { type FormatConfig, formatKey, formatOf } from '../../gateway/sink/http/formats/registry.ts'
import { RecordView } from '../../gateway/sink/mapping/record-view.ts'
import { recordOfLine } from '../../gateway/spool/codec/record.ts'
import { recordLine } from '../sink/http/batches.ts'

const RECORDS = 200
const ROUNDS = 6
const PAIRS = 21
const WARM_UP = 10

const PAYLOAD =
  '{"ts":1795403100123,"celsius":21.47,"board":26.1,"humidity":43.2,"battery":3.601,"ok":true,"n":4711,"note":"line 3, press 7"}'
const LINES = Array.from({ length: RECORDS }, (_, i) => Buffer.from(recordLine(i + 1, PAYLOAD)))
const BATCH = { gateway: 'edge-01', stream: 'telemetry', spoolId: 'k3f9x2m7q4w8z' }

function parseAndStringify(): number {
  let text = ''
  for (const line of LINES)
    text += `${JSON.stringify(JSON.parse(line.toString()))}
`
  return Buffer.from(text).length
}

function encodeIn(format: FormatConfig): () => number {
  const { prefix, separator, suffix, each } = formatOf(format, 'none').text(BATCH)
  const view = new RecordView(BATCH)
  return () => {
    let text = prefix
    for (const line of LINES) text += separator + each(view.at(recordOfLine(line)))
    return Buffer.from(text + suffix).length
  }
}

function cpuMicros(work: () => number): number {
  const before = process.cpuUsage()
  for (let round = 0; round < ROUNDS; round += 1) assert(work() > RECORDS)
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** The lower end of the 95 % interval of the median of the ratios, and the median. */
function ratioOf(work: () => number): { readonly low: number; readonly median: number } {
  // The compiler's threads count as processor of the process: it has to be done before.
  for (let round = 0; round < WARM_UP; round += 1) {
    cpuMicros(work)
    cpuMicros(parseAndStringify)
  }
  const ratios = Array.from({ length: PAIRS }, () => cpuMicros(work) / cpuMicros(parseAndStringify))
  ratios.sort((a, b) => a - b)
  const at = (index: number): number => ratios[index] ?? Number.NaN
  // Ranks of a sign test, n = 21.
  return { low: at(5), median: at(10) }
}

const FORMATS: ReadonlyArray<readonly [string, unknown]> = [
  ['json-array', 'json-array'],
  ['json-array of payloads', { kind: 'json-array', content: 'payload' }],
  [
    'template',
    {
      kind: 'template',
      text: '{"d":"${device}","at":"${receivedAt}","c":${/celsius},"id":"${id}"}',
    },
  ],
  ['cloudevents-batch', 'cloudevents-batch'],
  ['influx', 'influx'],
  ['es-bulk', 'es-bulk'],
  [
    'es-bulk of payloads with their time',
    { kind: 'es-bulk', content: 'payload', time: { at: '/ts', unit: 'ms' } },
  ],
  ['json-each-row', 'json-each-row'],
  ['otlp-logs', 'otlp-logs'],
]

const costs = FORMATS.map(([name, written]) => {
  const format = formatKey.parse(written)
  return { name, ...ratioOf(encodeIn(format)) }
})
process.stdout.write(`${JSON.stringify(costs)}\n`)
