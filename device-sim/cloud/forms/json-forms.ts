/** Forms of JSON whose records are those of the contract, or carry their parts by name. */
import { BrokenForm, type Form, lineOf, parsed, textOf } from './form.ts'
import { itemsOf, membersOf } from './json-text.ts'

export const ndjson: Form = { contentType: 'application/x-ndjson', lines: (body) => body }

export const raw: Form = {
  contentType: 'application/gzip',
  isGzipFile: true,
  lines: (body) => body,
}

export const jsonArray: Form = {
  contentType: 'application/json',
  lines: (body) => {
    const items = arrayOf(body)
    return Buffer.from(items.map((item) => `${item}\n`).join(''))
  },
}

export const json: Form = {
  contentType: 'application/json',
  lines: (body) => {
    const text = body.toString().trim()
    parsed(text, 'the body')
    if (text.includes('\n')) throw new BrokenForm('the body is more than one record')
    return Buffer.from(`${text}\n`)
  },
}

/** `{"id":"${id}","device":"${device}","topic":"${topic}","data":${payload}}`, a line a record. */
export const template: Form = {
  contentType: 'application/json',
  lines: (body) => {
    const texts = body.toString().split('\n')
    if (texts.pop() !== '') throw new BrokenForm('the last line does not end with LF')
    return Buffer.from(texts.map(lineOfParts).join(''))
  },
}

function lineOfParts(text: string): string {
  parsed(text, 'a line')
  const members = membersOf(text)
  const payload = members?.get('data')
  if (members === null || payload === undefined) throw new BrokenForm('a line has no member data')
  return lineOf({
    id: textOf(members.get('id')) ?? '',
    device: textOf(members.get('device')) ?? '',
    topic: textOf(members.get('topic')) ?? undefined,
    payload,
  })
}

/** CloudEvents 1.0, JSON Batch Format: https://github.com/cloudevents/spec. */
export const cloudeventsBatch: Form = {
  contentType: 'application/cloudevents-batch+json',
  lines: (body) => Buffer.from(arrayOf(body).map(lineOfEvent).join('')),
}

const ATTRIBUTE = /^[a-z0-9]{1,20}$|^data_base64$/

function lineOfEvent(text: string): string {
  const members = membersOf(text)
  if (members === null) throw new BrokenForm('an event is no object')
  const attribute = (name: string): string | null => textOf(members.get(name))
  for (const name of members.keys())
    if (!ATTRIBUTE.test(name)) throw new BrokenForm(`an event has an attribute ${name}`)
  if (attribute('specversion') !== '1.0') throw new BrokenForm('specversion is not 1.0')
  for (const name of ['id', 'source', 'type', 'subject'])
    if (!attribute(name)) throw new BrokenForm(`an event has no ${name}`)
  const time = attribute('time') ?? ''
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(time))
    throw new BrokenForm('time is not RFC 3339')
  const data = members.get('data')
  const base64 = attribute('data_base64')
  if ((data === undefined) === (base64 === null))
    throw new BrokenForm('an event wants one of data and data_base64')
  return lineOf({
    id: attribute('id') ?? '',
    device: attribute('device') ?? '',
    topic: attribute('subject') ?? undefined,
    receivedAt: time,
    payload: data ?? null,
    ...(base64 === null ? {} : { base64 }),
  })
}

/** @throws BrokenForm */
function arrayOf(body: Buffer): string[] {
  const text = body.toString()
  parsed(text, 'the body')
  const items = itemsOf(text)
  if (items === null) throw new BrokenForm('the body is no array')
  return items
}
