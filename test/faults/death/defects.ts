/**
 * Defects that a test plants into a running gateway, to show that the oracle sees them: each breaks
 * one guarantee in a way that only a fault brings to light. Loaded by the preload alone.
 */
import type { Pin } from '../../../gateway/ports/stream-queue.ts'
import { SpoolAppender } from '../../../gateway/spool/appender.ts'
import type { SpoolQueue } from '../../../gateway/spool/queue/queue.ts'
import { copyCounters, type StreamCounters } from '../../../gateway/spool/stream/counters.ts'
import type { ClosedStream, SpoolStream } from '../../../gateway/spool/stream/stream.ts'
import { around } from './fault-points.ts'
import type { Defect } from './points.ts'

export function plantDefect(defect: Defect): void {
  PLANT[defect]()
}

const PLANT: Readonly<Record<Defect, () => void>> = {
  /** I1: at the end of the turn every append is called durable. */
  'ack-before-commit': () => {
    const listeners: Array<(ticket: number) => void> = []
    let promised = 0
    around('commit.listen', (call, _, [listener]) => {
      listeners.push(listener as (ticket: number) => void)
      return call()
    })
    const real = Object.getOwnPropertyDescriptor(SpoolAppender.prototype, 'durableTicket')
    Object.defineProperty(SpoolAppender.prototype, 'durableTicket', {
      get(this: SpoolAppender): number {
        return Math.max(promised, real?.get?.call(this) as number)
      },
    })
    around('appender.append', (call) => {
      const ticket = call() as number
      setImmediate(() => {
        promised = Math.max(promised, ticket)
        for (const listener of listeners) listener(ticket)
      })
      return ticket
    })
  },

  /** I3: sessions are stored, their open packet ids are not. */
  'qos2-ids-in-memory': () => {
    around('session.add-id', () => undefined)
    around('session.remove-id', () => undefined)
  },

  /** A session is stored, how long it lives is not: after a start it lives as long as others. */
  'expiry-in-memory': () => {
    around('session.expiry', () => undefined)
  },

  /**
   * I8: a batch is settled when it is read for sending, and what the sink answers then finds
   * nothing to do.
   */
  'delete-before-answer': () => {
    around('queue.load', async (call, self, [pin]) => {
      const batch = await call()
      const queue = self as SpoolQueue
      if (batch !== null && queue.pin !== null) {
        const throughSeq = (pin as Pin).lastSeq
        await queue.settle({
          throughSeq,
          refused: [],
          deadLetter: [],
          gapsReported: true,
          keepOuterLastSeq: null,
        })
      }
      return batch
    })
    around('queue.settle', (call, self) => {
      return (self as SpoolQueue).pin === null ? Promise.resolve() : call()
    })
  },

  /** I5: each commit carries the counters as they were at the commit before. */
  'counters-outside-batch': () => {
    const written = new WeakMap<SpoolStream, StreamCounters>()
    around('stream.close-block', (call, self) => {
      const { state } = self as SpoolStream
      const now = state.counters
      Object.assign(state, { counters: written.get(self as SpoolStream) ?? now })
      const closed = call() as ClosedStream
      Object.assign(state, { counters: now })
      written.set(self as SpoolStream, copyCounters(now))
      return { ...closed, view: { ...closed.view, counters: copyCounters(now) } }
    })
  },
}
