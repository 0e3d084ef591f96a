/**
 * A message for others than the streams: its retained value and its copies for persistent sessions
 * ride in the commit that is open now, and local subscribers get it after that.
 */
import type { Ticket } from '../../ports/appender.ts'
import type { LocalPublication } from '../sessions/session-copies.ts'
import type { PublishContext } from './context.ts'

/** `appended`: of its records. Returns the ticket that covers everything that was made of it. */
export function publishLocally(
  { copies, delivery, retained }: PublishContext,
  publication: LocalPublication,
  appended: Ticket,
  isLocal: boolean,
  isQueued: boolean,
): Ticket {
  const { topic, payload, qos, retain } = publication
  let ticket = appended
  if (retain) ticket = Math.max(ticket, retained.stage(topic, payload, qos) ?? 0)
  if (!isLocal) return ticket
  const staged = qos > 0 && isQueued ? copies.stage(publication) : null
  if (staged !== null) ticket = Math.max(ticket, staged.ticket)
  delivery.offer(publication, ticket, staged)
  return ticket
}
