/**
 * Topics that are well-formed and unwanted: what the gateway does with a message on one instead of
 * closing the connection. Closing is for what is malformed or not authorized: over anything else it
 * would shut the device out, which sends what is not acknowledged first again after each reconnect.
 * Judged once per connection and topic, never per message.
 */

import type { Lane } from '../../ports/appender.ts'
import {
  checkTopicName,
  isDollarTopic,
  isOverLimit,
  type TopicLimits,
} from '../../shared/topics/topics.ts'
import type { UnwantedReason } from '../events.ts'

/**
 * null: wanted, or left to `unrouted`. `topic`: well-formed; `lanes`: where the streams' filters
 * send it.
 */
export function unwantedReason(
  topic: string,
  lanes: readonly Lane[],
  limits: TopicLimits,
): UnwantedReason | null {
  // Filters with a leading wildcard take no topic under `$`: a lane means that a stream names it
  // literally.
  if (isDollarTopic(topic) && lanes.length === 0) return 'dollar-topic'
  const fault = checkTopicName(topic, limits)
  return fault !== null && isOverLimit(fault) ? fault : null
}

/** What the dead letter of an unwanted message says; null: there is none to be made. */
export function refusalOf(reason: UnwantedReason | null, limits: TopicLimits): string | null {
  switch (reason) {
    case 'topic-too-long':
      return `the topic is longer than mqtt.maxTopicBytes (${limits.maxTopicBytes})`
    case 'topic-too-deep':
      return `the topic has more levels than mqtt.maxTopicLevels (${limits.maxTopicLevels})`
    default:
      return null
  }
}
