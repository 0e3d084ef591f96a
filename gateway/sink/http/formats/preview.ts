/** What the request of a batch would be, for people: head, body before compression, what is left out. */
import type { Batch } from '../../../ports/sink.ts'
import type { HttpSinkConfig } from '../config.ts'
import { requestHead } from '../request.ts'
import { encodedBody, type RequestBody } from './body.ts'
import { jsonFault } from './json-text.ts'
import { formatOf } from './registry.ts'

/** Without the configured headers: they may be secret. */
export async function previewRequest(config: HttpSinkConfig, batch: Batch): Promise<string> {
  const format = formatOf(config.format, config.compression)
  const { contentType, query = null } = format
  let body: RequestBody
  if (format.stitches === null) body = await encodedBody(batch, format)
  else {
    const { chunks, byteLength } = await batch.stitched('identity')
    const { recordCount } = batch
    const whole = { recordCount, seqs: null, crc32: null, refused: [] }
    body = { chunks, byteLength, contentType, contentEncoding: null, query, ...whole }
  }
  const head = requestHead(new URL(config.url), batch, body, []).replaceAll('\r\n', '\n')
  const refused = body.refused.map(({ seq, reason }) => `record ${seq} is refused, ${reason}\n`)
  const sent = `${head}${Buffer.concat(body.chunks).toString()}`
  if (body.recordCount === 0) return refused.join('')
  const fault = jsonFault(Buffer.concat(body.chunks).toString(), contentType)
  const noted =
    fault === null ? '' : `this body is no JSON, as its Content-Type says that it is: ${fault}\n`
  return [withLineEnd(sent), noted, ...refused].join('')
}

function withLineEnd(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`
}
