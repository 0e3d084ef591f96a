/** Bodies as a program would make them that has the records as objects. */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { BareBatch, BareRecord } from './batches.ts'
import type { BodyForm } from './task.ts'

const compress = promisify(gzip)

const TEXTS: Readonly<
  Record<Exclude<BodyForm, 'stored'>, (records: readonly BareRecord[]) => string>
> = {
  'json-array': (records) => JSON.stringify(records),
  influx: (records) => records.map((record) => influxLine(record, false)).join('\n'),
  'influx-numbers': (records) => records.map((record) => influxLine(record, true)).join('\n'),
  'es-bulk': (records) =>
    `${records
      .map(({ id, payload, ...record }) =>
        [
          JSON.stringify({ create: { _index: 'telemetry', _id: id } }),
          JSON.stringify({ '@timestamp': record.receivedAt, id, ...record, payload }),
        ].join('\n'),
      )
      .join('\n')}\n`,
  'json-each-row': (records) =>
    records
      .map(({ id, device, receivedAt, payload }) =>
        JSON.stringify({ id, at: receivedAt, device, payload: JSON.stringify(payload) }),
      )
      .join('\n'),
  'otlp-logs': (records) =>
    JSON.stringify({
      resourceLogs: [
        {
          resource: { attributes: [attribute('service.name', 'bench')] },
          scopeLogs: [{ scope: { name: 'bench' }, logRecords: records.map(logRecord) }],
        },
      ],
    }),
}

/** Compressed, as a gateway compresses it by default. */
export async function bodyOf(
  { stored, records }: Pick<BareBatch, 'stored' | 'records'>,
  form: BodyForm,
): Promise<Buffer> {
  return form === 'stored' ? stored : await compress(TEXTS[form](records), { level: 6 })
}

/** With the time in ns, or, of numbers alone, in ms. */
function influxLine({ device, seq, receivedAt, payload }: BareRecord, numbers: boolean): string {
  const fields = Object.entries(payload).flatMap(([name, value]) => fieldOf(name, value, numbers))
  const ms = String(Date.parse(receivedAt))
  const time = numbers ? ms : `${ms}${String(seq % 1_000_000).padStart(6, '0')}`
  return `telemetry,device=${device} ${fields.join(',')} ${time}`
}

function fieldOf(name: string, value: unknown, numbers: boolean): string[] {
  if (typeof value === 'number' || typeof value === 'boolean') return [`${name}=${value}`]
  if (typeof value === 'string' && numbers) return []
  if (typeof value === 'string') return [`${name}="${value.replaceAll(/["\\]/g, '\\$&')}"`]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([member, one]) =>
    fieldOf(`${name}_${member}`, one, numbers),
  )
}

function logRecord({ id, device, topic, receivedAt, payload }: BareRecord) {
  return {
    timeUnixNano: `${Date.parse(receivedAt)}000000`,
    body: { stringValue: JSON.stringify(payload) },
    attributes: [
      attribute('sluice.id', id),
      attribute('sluice.device', device),
      attribute('sluice.topic', topic),
    ],
  }
}

function attribute(key: string, stringValue: string) {
  return { key, value: { stringValue } }
}
