/**
 * What a status means: by the configuration, by the table that it names, else by the contract. Of
 * each the status itself comes before its class (`4xx`). Pure.
 *
 * I8: a class of statuses never refuses records by one that speaks of who asks, of the address or
 * of the service, and only 409 and 422 outside of 2xx can ack.
 */
import { hideUrl } from '../../../shared/text/hide-url.ts'
import { type HttpAnswer, MAX_EXCERPT_CHARS, printable } from './answer.ts'

/** Rows of the contract's answer table. */
export const ANSWER_MEANINGS = ['acked', 'retry', 'refused', 'too-large', 'hold'] as const
export type AnswerMeaning = (typeof ANSWER_MEANINGS)[number]

/** By status (`409`) or by class (`5xx`). */
export type StatusMeanings = Readonly<Record<string, AnswerMeaning>>

/** Outside of 2xx: they speak of what was sent, and nothing on the way answers them on its own. */
export const MAY_ACK: readonly number[] = [409, 422]

/** They speak of who asks, when, or how the service is: the records have nothing to do with it. */
export const NOT_OF_RECORDS: readonly number[] = [401, 402, 407, 408, 425, 429, 502, 503, 504, 511]

/**
 * They may speak of the records at one sink, and of its address or its credentials at most others:
 * whoever means them writes them out.
 */
const NOT_BY_CLASS: readonly number[] = [...NOT_OF_RECORDS, 403, 404, 405, 410, 421, 431]

/** Statuses that speak of the service as a whole, not of what was sent. */
const SERVICE_STATUSES: readonly number[] = [429, 502, 503, 504]

/** Why a status that is in no row of its own holds the sink, and what to do. */
const HOLD_HINTS: Readonly<Record<number, string>> = {
  200: 'not in ackStatus',
  201: 'not in ackStatus',
  202: 'accepted is not stored; list it in ackStatus if this sink means stored',
  204: 'not in ackStatus',
  401: 'the sink does not accept the credentials; check auth, bearerToken or headers',
  402: 'the account behind the sink is not paid or over its quota',
  403: 'the credentials are known but not allowed to write here',
  404: 'check the path of the url',
  405: 'the url does not take POST; check its path',
  407: 'a proxy between here and the sink wants credentials',
  410: 'the url is no longer served; check it',
  412: 'it has other records under these numbers: this spool was rolled back, restored or cloned; run sluice spool new-id',
  411: 'something between here and the sink does not pass Content-Length on',
  415: 'the sink does not take this format or compression; check format and compression',
  421: 'the server does not serve this host; check the url',
  431: 'the request headers are too long for the sink',
  501: 'the url does not take POST; check it',
  505: 'the server does not speak HTTP/1.1',
}

/** What `meanings` says of a status; undefined: nothing. */
export function meaningIn(meanings: StatusMeanings, status: number): AnswerMeaning | undefined {
  const exact = meanings[status]
  if (exact !== undefined) return exact
  const ofClass = meanings[`${Math.floor(status / 100)}xx`]
  if (ofClass === 'acked' && status === 207) return undefined
  const judges = ofClass === 'refused' || ofClass === 'too-large'
  // What has a row of its own in the contract for less than a refusal keeps it.
  const isOther = NOT_BY_CLASS.includes(status) || status === 412 || status === 413
  return judges && isOther ? undefined : ofClass
}

/** What a status outside of `ackStatus` means by the contract. */
export function meaningByContract(status: number): AnswerMeaning {
  if (isRetryStatus(status)) return 'retry'
  if (status === 413) return 'too-large'
  return status === 400 || status === 422 ? 'refused' : 'hold'
}

/** 408, 409, 425, 429 and 5xx except 501 and 505: the same bytes may be taken later. */
export function isRetryStatus(status: number): boolean {
  if (status >= 500 && status <= 599) return status !== 501 && status !== 505
  return status === 408 || status === 409 || status === 425 || status === 429
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299
}

export function retryScope(status: number): 'sink' | 'stream' {
  return SERVICE_STATUSES.includes(status) ? 'sink' : 'stream'
}

/**
 * Authentication, URL and connection faults are the sink's. 431 is one stream's: of all headers
 * only its names and its gap report differ between streams. So is 412: another stream's numbers may
 * be its own.
 */
export function holdScope(status: number): 'sink' | 'stream' {
  return status === 431 || status === 412 ? 'stream' : 'sink'
}

/** What a status that holds the sink says, and what to do; empty: nothing is known of it. */
export function statusHint(status: number, headers: HttpAnswer['headers']): string {
  if (status < 300 || status > 399) return HOLD_HINTS[status] ?? ''
  const location = headers['location']
  const target = typeof location === 'string' ? location : (location?.[0] ?? null)
  const to = target === null ? '' : ` to ${printable(hideUrl(target), MAX_EXCERPT_CHARS)}`
  return `a redirect${to}: redirects are not followed; put the sink's own address into url`
}
