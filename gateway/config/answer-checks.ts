/**
 * Which statuses `answers` of a sink may give another meaning (I8): a status that a portal, a proxy
 * or a login page gives on its own must never delete anything, and one that speaks of the service
 * must never make dead letters. Pure.
 */
import type { AnswerMeaning, HttpSinkConfig } from './config.ts'
import type { Complain } from './cross-checks.ts'
import type { Path } from './walk.ts'

/** They speak of what was sent, and nothing between here and the sink answers them on its own. */
const MAY_ACK: readonly number[] = [409, 422]

/** They speak of who asks, when, or how the service is: the records have nothing to do with it. */
const NOT_OF_RECORDS: readonly number[] = [401, 402, 407, 408, 425, 429, 502, 503, 504, 511]

export function checkAnswers(path: Path, { answers }: HttpSinkConfig, complain: Complain): void {
  for (const [key, meaning] of Object.entries(answers)) {
    const fault = faultOf(key, meaning)
    if (fault !== null) complain([...path, 'answers', key], { got: `${key}: ${meaning}`, ...fault })
  }
}

function faultOf(key: string, meaning: AnswerMeaning): { wanted: string; fix: string } | null {
  const status = /^[1-9]\d\d$/.test(key) ? Number(key) : 0
  if (status < 200 || status > 599) {
    return { wanted: 'a status from 300 to 599', fix: 'write the status of an answer, such as 409' }
  }
  if (status < 300) {
    const fix =
      meaning === 'acked' ? `list ${status} in ackStatus` : `leave ${status} out of ackStatus`
    return { wanted: 'a status from 300 to 599: ackStatus says which of 2xx ack', fix }
  }
  if (meaning === 'acked' && !MAY_ACK.includes(status)) {
    const wanted = `acked for ${MAY_ACK.join(', ')} alone: others come from portals and proxies, too`
    return { wanted, fix: 'write retry or hold: both keep the records' }
  }
  const judges = meaning === 'refused' || meaning === 'too-large'
  if (judges && (status < 400 || NOT_OF_RECORDS.includes(status))) {
    const wanted = `a status that speaks of the records, not ${status}`
    return { wanted, fix: 'write retry or hold: both keep the records' }
  }
  return null
}
