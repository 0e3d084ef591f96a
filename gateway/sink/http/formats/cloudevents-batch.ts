/**
 * CloudEvents 1.0 in the JSON Batch Format: one event a record. `id` is the record's id, so a
 * consumer knows a repeat by `source` and `id`, as the specification has it. A payload that is not
 * JSON goes as `data_base64`; nothing is refused but what `source`, `type` or `subject` want and a
 * record has not.
 */
import { leaf } from '../../../config/schema.ts'
import { templateKey, timeKey } from '../../mapping/keys.ts'
import { type RecordView, Unmappable } from '../../mapping/record-view.ts'
import { compileTemplate, type Escape } from '../../mapping/template.ts'
import { compileTime, rfc3339Of, type TimeConfig } from '../../mapping/time.ts'
import { type Compression, encodedFormat, type FormatType, PLAIN_PROMISE } from './format.ts'
import { contentTypeKey, percentEncoded } from './keys.ts'

interface CloudEventsConfig {
  readonly kind: 'cloudevents-batch'
  readonly source: string
  readonly type: string
  readonly subject: string
  readonly time: TimeConfig
  readonly contentType: string
}

/** `source` is a URI reference. */
const inUri: Escape = ({ text }) =>
  percentEncoded(text).replaceAll('%2F', '/').replaceAll('%3A', ':')

export const cloudeventsBatch = {
  keys: {
    source: leaf(templateKey('A URI reference: where an event comes from.')).prefault(
      '/${gateway}/${stream}',
    ),
    type: leaf(templateKey('Type of the event.')).prefault('sluice.reading'),
    subject: leaf(templateKey('What the event is about.')).prefault('${topic}'),
    time: timeKey,
    contentType: contentTypeKey('application/cloudevents-batch+json; charset=utf-8'),
  },
  promise: () => PLAIN_PROMISE,
  check: () => undefined,
  create: (format: CloudEventsConfig, compression: Compression) => {
    const { contentType, kind, ...config } = format
    const each = eventOf(config)
    return encodedFormat({ kind, version: 1, config, contentType, compression }, () => ({
      prefix: '[',
      separator: ',\n',
      suffix: ']\n',
      each,
    }))
  },
} satisfies FormatType<CloudEventsConfig>

function eventOf(
  config: Pick<CloudEventsConfig, 'source' | 'type' | 'subject' | 'time'>,
): (view: RecordView) => string {
  const source = attribute('source', config.source, inUri)
  const type = attribute('type', config.type)
  const subject = attribute('subject', config.subject)
  const timeOf = compileTime(config.time)
  const quoted = JSON.stringify
  return (view) => {
    const { record } = view
    const { nanoseconds, fellBack } = timeOf(view)
    const time = config.time.at === null || fellBack ? view.receivedAt : rfc3339Of(nanoseconds)
    const head =
      `{"specversion":"1.0","id":${quoted(record.id)},"source":${source(view)}` +
      `,"type":${type(view)},"subject":${subject(view)}` +
      `,"time":"${time}","device":${quoted(record.device)}`
    const mark = fellBack ? ',"timefrom":"arrival"' : ''
    return record.payloadKind === 'json'
      ? `${head}${mark},"datacontenttype":"application/json","data":${view.json}}`
      : `${head}${mark},"datacontenttype":"application/octet-stream","data_base64":"${view.base64}"}`
  }
}

/** Quoted. The specification wants none of them empty. */
function attribute(name: string, text: string, escape?: Escape): (view: RecordView) => string {
  const compiled = compileTemplate(text)
  return (view) => {
    const value = compiled.render(view, escape)
    if (value === '') throw new Unmappable(`${name} is empty`)
    return JSON.stringify(value)
  }
}
