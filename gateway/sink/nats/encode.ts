/**
 * Batch -> messages: subject, headers, body. Pure but for reading the batch. I4: all of it depends on
 * the batch and the configuration alone, so a repeat is the same message with the same
 * `Nats-Msg-Id`. Not here: the sequence that a message expects, which is the try's (batch-mode.ts).
 */
import { createHash } from 'node:crypto'
import type { Batch, BatchEncoder, BatchEncoding, SinkRecord } from '../../ports/sink.ts'
import { gapHeader, gapsThatFit } from '../http/encode.ts'
import { RecordView, Unmappable } from '../mapping/record-view.ts'
import { compileTemplate, type Template } from '../mapping/template.ts'
import type { NatsSinkConfig } from './config.ts'

/** The version line, and the headers that a try adds. */
const ADDED_HEADER_BYTES = 128 + 255

type Form = Pick<NatsSinkConfig, 'jetStream' | 'message' | 'subject' | 'body' | 'compression'>

export interface NatsMessage {
  readonly subject: string
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
  readonly body: Uint8Array
}

export function subjectTemplate({ message, subject }: Pick<Form, 'message' | 'subject'>): string {
  if (subject !== null) return subject
  return message === 'batch' ? 'sluice.${gateway}.${stream}' : 'sluice.${gateway}.${topic}'
}

/** Tokens in front of the first placeholder: whatever a record is. */
export function constantTokens(form: Pick<Form, 'message' | 'subject'>): string[] {
  const template = subjectTemplate(form)
  const open = template.indexOf('${')
  return (open < 0 ? template : template.slice(0, template.lastIndexOf('.', open) + 1))
    .split('.')
    .filter((token) => token !== '')
}

/** It names where messages go, too: an earlier try is looked for there. */
export function natsEncoder(form: Form): BatchEncoder {
  const place = `${form.jetStream}/${subjectTemplate(form)}`
  if (form.message === 'record')
    return {
      fingerprint: `nats:record:${form.body ?? 'payload'}:${place}`,
      stitches: null,
      gapsThatFit,
    }
  const stitches = form.compression === 'gzip' ? 'gzip' : 'identity'
  return { fingerprint: `nats:batch:${stitches}:${place}`, stitches, gapsThatFit }
}

interface FormerPlace {
  readonly jetStream: string
  readonly subject: string
}

/** Where an earlier try in another form of whole batches may lie; null: not in a place like that. */
export function formerPlace(batch: Batch, fingerprint: string): FormerPlace | null {
  const [, jetStream, template] = /^nats:batch:[a-z]+:([^/]+)\/(.+)$/.exec(fingerprint) ?? []
  if (jetStream === undefined || template === undefined) return null
  return { jetStream, subject: batchSubject(batch, compileTemplate(template)) }
}

/** Of a template of ${gateway} and ${stream} alone. */
export function batchSubject(batch: Batch, template: Template): string {
  return template.render(new RecordView(batch), ({ text }) => safeTokens(text))
}

export async function batchMessage(
  batch: Batch,
  encoding: BatchEncoding,
  subject: string,
): Promise<NatsMessage> {
  const { chunks } = await batch.stitched(encoding)
  const body = chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)
  const { gateway, spoolId, stream, firstSeq, lastSeq, recordCount } = batch
  const form = createHash('sha256').update(batch.fingerprint).digest('hex').slice(0, 8)
  const gaps = gapHeader(batch.gaps, spoolId)
  const headers: Array<readonly [string, string]> = [
    ['Nats-Msg-Id', `${gateway}:${spoolId}:${stream}:${firstSeq}-${lastSeq}:${form}`],
    ['Content-Type', 'application/x-ndjson'],
    ['Sluice-Gateway', gateway],
    ['Sluice-Spool', spoolId],
    ['Sluice-Stream', stream],
    ['Sluice-First-Seq', String(firstSeq)],
    ['Sluice-Last-Seq', String(lastSeq)],
    ['Sluice-Record-Count', String(recordCount)],
  ]
  if (encoding === 'gzip') headers.push(['Content-Encoding', 'gzip'])
  if (gaps !== null) headers.push(['Sluice-Gap', gaps])
  return { subject, headers, body }
}

/** Makes the messages of one batch of records, in turn. */
export class RecordMessages {
  readonly #body: NonNullable<NatsSinkConfig['body']>
  readonly #template: Template
  readonly #view: RecordView
  #gaps: string | null

  constructor(batch: Batch, body: NatsSinkConfig['body'], template: Template) {
    this.#body = body ?? 'payload'
    this.#template = template
    this.#view = new RecordView(batch)
    this.#gaps = gapHeader(batch.gaps, batch.spoolId)
  }

  /** @throws Unmappable */
  of(record: SinkRecord): NatsMessage {
    const subject = this.#template.render(this.#view.at(record), ({ text }) => safeTokens(text))
    if (!/^[^.]+(\.[^.]+)*$/.test(subject)) throw new Unmappable(`its subject is ${subject}`)
    const headers: Array<readonly [string, string]> = [['Nats-Msg-Id', record.id]]
    if (this.#body === 'payload') {
      headers.push(
        ['Sluice-Device', oneLine(record.device)],
        ['Sluice-Topic', oneLine(record.topic)],
        ['Sluice-Received-At', new Date(record.receivedAtMs).toISOString()],
      )
    }
    // The first record of the batch tells them, in each try the same.
    if (this.#gaps !== null) {
      headers.push(['Sluice-Gap', this.#gaps])
      this.#gaps = null
    }
    const body = this.#body === 'payload' ? record.payload : record.line.subarray(0, -1)
    return { subject, headers, body }
  }
}

/** Bytes that count for the limits of server and stream, about. */
export function sizeOf({ headers, body }: NatsMessage): number {
  let bytes = ADDED_HEADER_BYTES + body.length
  for (const [name, value] of headers) bytes += name.length + Buffer.byteLength(value) + 4
  return bytes
}

/**
 * A value in a subject: the levels of a topic become its tokens; what has a meaning in subjects, and
 * blanks, become `_`.
 */
function safeTokens(text: string): string {
  return text
    .split('/')
    .map((level) => level.replaceAll(/[\s.*>\p{Cc}]/gu, '_') || '_')
    .join('.')
}

function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '_')
}
