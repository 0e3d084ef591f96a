/**
 * What a topic name and a topic filter may be, and which filter takes which name. Pure.
 *
 * Cited rules: MQTT 3.1.1 (OASIS Standard, 29 October 2014), section 4.7.
 */

/** Why a topic name or filter is refused; stable words, fit for logs and as a label. */
type TopicFault =
  /** [MQTT-4.7.3-1]: at least one character. */
  | 'topic-empty'
  /** [MQTT-4.7.3-2]: no U+0000. */
  | 'topic-has-null'
  /** [MQTT-3.3.2-2], [MQTT-4.7.1-1]: no wildcard in a topic name. */
  | 'topic-has-wildcard'
  /** `maxTopicBytes`, UTF-8. */
  | 'topic-too-long'
  /** `maxTopicLevels`. */
  | 'topic-too-deep'
  /** [MQTT-4.7.1-2]: `#` alone in the last level; [MQTT-4.7.1-3]: `+` alone in its level. */
  | 'filter-wildcard-misplaced'

export interface TopicLimits {
  /** UTF-8. */
  readonly maxTopicBytes: number
  readonly maxTopicLevels: number
}

/**
 * For filters of the configuration and of files: the protocol's own bounds only (section 1.5.3:
 * 65,535 bytes).
 */
export const PROTOCOL_TOPIC_LIMITS: TopicLimits = { maxTopicBytes: 65_535, maxTopicLevels: 65_535 }

const NULL = 0
const HASH = 35
const DOLLAR = 36
const PLUS = 43
const SLASH = 47

/**
 * Of the faults, those of a name that is well-formed: it is over a limit of this gateway, not of
 * MQTT.
 */
type OverLimit = Extract<TopicFault, 'topic-too-long' | 'topic-too-deep'>

export function isOverLimit(fault: TopicFault): fault is OverLimit {
  return fault === 'topic-too-long' || fault === 'topic-too-deep'
}

/**
 * null: a PUBLISH or will may carry this topic name. A name that is malformed and over a limit is
 * malformed.
 */
export function checkTopicName(topic: string, limits: TopicLimits): TopicFault | null {
  for (let i = 0; i < topic.length; i += 1) {
    const code = topic.charCodeAt(i)
    if (code === HASH || code === PLUS) return 'topic-has-wildcard'
    if (code === NULL) return 'topic-has-null'
  }
  return checkSize(topic, limits)
}

/** Of the server's own, those that clients may subscribe to. */
export function isSysTopic(topicOrFilter: string): boolean {
  return topicOrFilter.startsWith('$SYS/')
}

/**
 * Section 4.7.2: names that begin with `$` are the server's own; a leading wildcard does not take
 * them.
 */
export function isDollarTopic(topic: string): boolean {
  return topic.charCodeAt(0) === DOLLAR
}

/** null: a SUBSCRIBE or a stream may use this topic filter. */
export function checkTopicFilter(filter: string, limits: TopicLimits): TopicFault | null {
  const fault = checkSize(filter, limits)
  if (fault !== null) return fault
  for (let i = 0; i < filter.length; i += 1) {
    const code = filter.charCodeAt(i)
    if (code === NULL) return 'topic-has-null'
    if (code !== HASH && code !== PLUS) continue
    const begins = i === 0 || filter.charCodeAt(i - 1) === SLASH
    const ends = i === filter.length - 1 || (code === PLUS && filter.charCodeAt(i + 1) === SLASH)
    if (!begins || !ends) return 'filter-wildcard-misplaced'
  }
  return null
}

function checkSize(text: string, limits: TopicLimits): TopicFault | null {
  if (text.length === 0) return 'topic-empty'
  // A UTF-16 unit takes 1 to 3 bytes of UTF-8, so most names need no exact count.
  const { maxTopicBytes, maxTopicLevels } = limits
  if (text.length > maxTopicBytes) return 'topic-too-long'
  if (text.length * 3 > maxTopicBytes && Buffer.byteLength(text) > maxTopicBytes)
    return 'topic-too-long'
  let levels = 1
  for (let i = 0; i < text.length; i += 1) if (text.charCodeAt(i) === SLASH) levels += 1
  return levels > maxTopicLevels ? 'topic-too-deep' : null
}

/**
 * Does a valid filter take a valid topic name? [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.2-1]; case
 * matters.
 */
export function filterMatches(filter: string, topic: string): boolean {
  if (topic.charCodeAt(0) === DOLLAR && filter.charCodeAt(0) !== DOLLAR) return false
  const filterLevels = filter.split('/')
  const topicLevels = topic.split('/')
  for (const [depth, level] of filterLevels.entries()) {
    if (level === '#') return true
    if (depth >= topicLevels.length) return false
    if (level !== '+' && level !== topicLevels[depth]) return false
  }
  return filterLevels.length === topicLevels.length
}
