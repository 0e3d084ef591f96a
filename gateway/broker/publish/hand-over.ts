/**
 * Where a message goes, of a PUBLISH and of a will alike: its records to the streams; its retained
 * value and its copies for persistent sessions into the commit that is open now, and to local
 * subscribers after that. Not here: whether it may go there, what becomes of it where it must wait.
 */
import type { MessageProperties, Ticket } from '../../ports/appender.ts'
import type { Publication } from '../mqtt/publish.ts'
import type { LocalPublication } from '../sessions/session-copies.ts'
import type { PublishContext } from './context.ts'
import type { TopicEntry } from './topic-cache.ts'

/** When a message came, by both clocks, and with which properties. */
export interface Arrival {
  readonly receivedAtMs: number
  readonly arrivedMs: number
  /** null: it has none, or no stream wants them. */
  readonly properties: MessageProperties | null
}

/** As the appender's `append`: a ticket, or MUST_WAIT at QoS 1 and 2. Allocates nothing. */
export function append(
  { message, appender }: Pick<PublishContext, 'message' | 'appender'>,
  { lanes, refusal }: Pick<TopicEntry, 'lanes' | 'refusal'>,
  publication: Publication,
  { receivedAtMs, arrivedMs, properties }: Arrival,
  isWill: boolean,
): Ticket {
  message.payload = publication.bytes
  message.start = publication.start
  message.end = publication.end
  message.qos = publication.qos
  message.dup = publication.dup
  message.retain = publication.retain
  message.will = isWill
  message.properties = properties
  message.refusal = refusal
  message.receivedAtMs = receivedAtMs
  message.arrivedMs = arrivedMs
  return appender.append(lanes, message)
}

/** `appended`: of its records. Returns the ticket that covers everything that was made of it. */
export function publishLocally(
  { copies, delivery, retained }: PublishContext,
  publication: LocalPublication,
  appended: Ticket,
  isLocal: boolean,
  isQueued: boolean,
): Ticket {
  const { topic, payload, qos, retain, options } = publication
  let ticket = appended
  if (retain) ticket = Math.max(ticket, retained.stage(topic, payload, qos, options) ?? 0)
  if (!isLocal) return ticket
  const staged = qos > 0 && isQueued ? copies.stage(publication) : null
  if (staged !== null) ticket = Math.max(ticket, staged.ticket)
  delivery.offer(publication, ticket, staged)
  return ticket
}
