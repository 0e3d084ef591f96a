/**
 * What to write instead of a topic filter that a stream cannot have. Pure; the rules are in
 * shared/topics.ts.
 */
import { checkTopicFilter, PROTOCOL_TOPIC_LIMITS } from '../shared/topics/topics.ts'

const LENGTH_FIX = `write well-formed UTF-8 of at most ${PROTOCOL_TOPIC_LIMITS.maxTopicBytes} bytes`

/** What to do about a filter that is none, or null if it is fine. */
export function topicFilterFix(filter: string): string | null {
  if (/\p{Surrogate}/u.test(filter)) return LENGTH_FIX
  if (filter.startsWith('$'))
    return 'write a filter that does not begin with $: such topics are refused, and $share is no filter of a stream'
  switch (checkTopicFilter(filter, PROTOCOL_TOPIC_LIMITS)) {
    case null:
      return null
    case 'topic-empty':
      return 'write at least one character; # alone takes every topic'
    case 'topic-has-null':
      return 'remove the NUL character'
    case 'filter-wildcard-misplaced':
      return wildcardFix(filter)
    default:
      return LENGTH_FIX
  }
}

function wildcardFix(filter: string): string {
  const mixed = filter.split('/').find((level) => level.length > 1 && /[+#]/.test(level))
  if (mixed === undefined) return 'put # last: it matches everything below its level'
  return `let + or # stand alone between slashes; ${JSON.stringify(mixed)} mixes them with text`
}
