/** Keys that several formats have. */
import { choice, text } from '../../../config/fields.ts'
import { leaf } from '../../../config/schema.ts'
import type { RecordView } from '../../mapping/record-view.ts'

const MEDIA_TYPE =
  /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:\s*;\s*[\w-]+=(?:[\w!#$&^.+-]+|"[\x20\x21\x23-\x5b\x5d-\x7e]*"))*$/

export function contentTypeKey(usual: string) {
  return leaf(
    text('Content-Type of the body.', {
      wanted: `a media type such as ${usual}`,
      check: (input) => (MEDIA_TYPE.test(input) ? null : `write ${usual}`),
    }),
  ).prefault(usual)
}

export type Content = 'record' | 'payload'

export const contentKey = leaf(
  choice<Content>(
    'record: each with its id, device, topic and time, as the contract has it; payload: what the device sent.',
    ['record', 'payload'],
  ),
).prefault('record')

/** For a URI. Half a surrogate pair, which JSON can hold, is no character. */
export function percentEncoded(value: string): string {
  return encodeURIComponent(value.replaceAll(/\p{Surrogate}/gu, '\ufffd'))
}

/** @throws Unmappable when the payload alone is wanted, and is no JSON */
export function contentOf(view: RecordView, content: Content): string {
  return content === 'payload' ? view.json : view.line
}
