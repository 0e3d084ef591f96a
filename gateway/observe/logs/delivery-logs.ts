/** What the events of drain and sink say in the log. */
import type { DrainEvent } from '../../drain/events.ts'
import type { SinkEvent } from '../../sink/events.ts'
import { bytes, counted, duration, type EventLogs, whose } from './event-log.ts'

const LIMIT_REASONS = {
  'too-large': 'a batch was too large',
  refused: 'a batch was refused and all pieces of it were taken',
  'timed-out': 'a batch timed out again',
} as const

export const DRAIN_LOGS: EventLogs<DrainEvent> = {
  'drain.retrying': {
    level: 'warn',
    message: (event) =>
      `${whose(event)} does not take batches, everything is kept and tried again: ${event.detail}`,
    dampBy: whose,
  },
  'drain.recovered': {
    level: 'info',
    message: (event) => `${whose(event)} takes batches again after ${duration(event.outageMs)}`,
    dampBy: whose,
  },
  'drain.held': {
    level: 'error',
    message: (event) => `${whose(event)} is held, nothing is lost (I8): ${event.detail}`,
    dampBy: whose,
  },
  'drain.hold-ended': {
    level: 'info',
    message: (event) => `${whose(event)} is no longer held, after ${duration(event.heldMs)}`,
    dampBy: whose,
  },
  'drain.parked': {
    level: 'warn',
    message: ({ stream, seq, reason, tooLarge }) =>
      `record ${seq} of stream ${stream} was refused and is kept aside: ${tooLarge ? `too large: ${reason}` : reason}`,
    dampBy: ({ stream }) => stream,
  },
  'drain.dead-lettered': {
    level: 'error',
    message: ({ stream, records, firstSeq, lastSeq }) =>
      `refused for good, kept whole as dead letters (I9): ${counted(records, 'record')} of stream ${stream} (seq ${firstSeq} to ${lastSeq})`,
    dampBy: ({ stream }) => stream,
  },
  'drain.parked-returned': {
    level: 'info',
    message: ({ stream, records }) =>
      `${counted(records, 'refused record')} of stream ${stream} went back to their place`,
    dampBy: ({ stream }) => stream,
  },
  'drain.batch-limit-learned': {
    level: 'info',
    message: (event) =>
      `${whose(event)}: ${LIMIT_REASONS[event.why]}, batches have at most ${bytes(event.bytes)} from now on`,
    dampBy: whose,
  },
  'drain.batch-resumed': {
    level: 'info',
    message: ({ stream, firstSeq, lastSeq }) =>
      `the batch of stream ${stream} that was in flight (seq ${firstSeq} to ${lastSeq}) is sent again first (I4)`,
  },
  'drain.batch-dissolved': {
    level: 'error',
    message: ({ stream, firstSeq, lastSeq }) =>
      `a batch of stream ${stream} (seq ${firstSeq} to ${lastSeq}) held a damaged block and is rebuilt (I7)`,
  },
  'drain.queue-failed': {
    level: 'error',
    message: (event) =>
      `${whose(event)}: the spool could not read or note something, it is tried again: ${event.detail}`,
    dampBy: whose,
  },
}

export const SINK_LOGS: EventLogs<SinkEvent> = {
  // The drain tells what follows from it (retrying, held): this is the detail behind it.
  'sink.not-acked': {
    level: 'debug',
    message: ({ stream, what, status, detail }) =>
      `a request of stream ${stream} was not acked (${what}, ${status === null ? 'no answer' : status}): ${detail}`,
    dampBy: ({ sink, stream, what, status }) => `${sink} ${stream} ${what} ${status}`,
  },
  'sink.file-changed': {
    level: 'info',
    message: ({ sink, what, file }) => `sink ${sink}: ${what} was read again from ${file}`,
  },
  'sink.file-unusable': {
    level: 'error',
    message: ({ sink, what, file, kept, detail }) =>
      `sink ${sink}: ${what} cannot be read from ${file}, ${kept ? 'the former content stays in use' : 'nothing is sent (I8)'}: ${detail}`,
    dampBy: ({ sink, what }) => `${sink} ${what}`,
  },
  'sink.package-missing': {
    level: 'error',
    message: ({ sink, detail }) => `sink ${sink}: nothing is sent (I8): ${detail}`,
  },
  'sink.may-repeat': {
    level: 'warn',
    message: ({ sink, stream, firstSeq, lastSeq, why }) =>
      `sink ${sink}: records ${firstSeq} to ${lastSeq} of stream ${stream} may be there twice: ${why}`,
    dampBy: ({ sink, stream }) => `${sink} ${stream}`,
  },
  'sink.session-lost': {
    level: 'warn',
    message: ({ sink, stream, times }) =>
      `sink ${sink}: the broker lost its session with messages of stream ${stream} in flight, they go again and may arrive twice (${times} times since the start)`,
    dampBy: ({ sink, stream }) => `${sink} ${stream}`,
  },
  'sink.notices-lost': {
    level: 'warn',
    message: ({ sink, detail }) =>
      `the other gateways cannot be told of clients that connect here (cluster.takeover, over sink ${sink}): a connection that a client left at another gateway ends when they can be told again, or by its keepalive; it is tried again by itself: ${detail}`,
  },
  'sink.notices-back': {
    level: 'info',
    message: ({ sink }) =>
      `the other gateways can be told again of clients that connect here, and are told of those that have (cluster.takeover, over sink ${sink})`,
  },
  'sink.header-ignored': {
    level: 'warn',
    message: ({ sink, header }) =>
      `sink ${sink}: the contract sets header ${header}, the configured one is not sent`,
  },
}
