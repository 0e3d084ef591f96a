/** What the spool's events say in the log. */
import type { SpoolEvent } from '../../spool/events.ts'
import { bytes, counted, duration, type EventLogs } from './event-log.ts'

export const SPOOL_LOGS: EventLogs<SpoolEvent> = {
  'spool.opened': {
    level: 'info',
    message: ({ spoolId, clean, pendingRecords, durationMs }) =>
      `spool ${spoolId} opened in ${duration(durationMs)}${clean ? '' : ', after an unclean end'}; ${counted(pendingRecords, 'record')} ${pendingRecords === 1 ? 'waits' : 'wait'}`,
  },
  'spool.identity-changed': {
    level: 'warn',
    message: ({ spoolId, why }) => `new records are numbered under spool id ${spoolId}: ${why}`,
  },
  'spool.damage': {
    level: 'error',
    message: ({ what, kept }) =>
      `damage in the spool: ${what}${kept === null ? '' : `; the files are kept in ${kept}`} (I7)`,
  },
  'spool.records-lost': {
    level: 'error',
    message: ({ stream, records, firstSeq, lastSeq }) =>
      `lost to damage: ${counted(records, 'record')} of stream ${stream} (seq ${firstSeq} to ${lastSeq}); reported as a gap (I7)`,
  },
  'spool.write-failed': {
    level: 'error',
    message: ({ code, detail }) =>
      `the disk rejected a commit (${code}), which is not acknowledged (I1): ${detail}`,
    dampBy: ({ code }) => code,
  },
  'spool.storage-failed': {
    level: 'error',
    message: ({ detail, retryMs }) =>
      `nothing can be written: acks are withheld, the next try is in ${duration(retryMs)}: ${detail}`,
    dampBy: () => '',
  },
  'spool.recovered': {
    level: 'warn',
    message: ({ outageMs, renumberedRecords }) =>
      `the spool writes again after ${duration(outageMs)}; renumbered: ${counted(renumberedRecords, 'record')}`,
  },
  'spool.disk-low': {
    level: 'error',
    message: ({ freeBytes, minFreeBytes }) =>
      `${bytes(freeBytes)} of disk are free, ${bytes(minFreeBytes)} are wanted: ingest is closed, delivery goes on (I6)`,
    dampBy: () => '',
  },
  'spool.disk-ok': {
    level: 'warn',
    message: ({ freeBytes }) => `${bytes(freeBytes)} of disk are free: ingest is open again`,
    dampBy: () => '',
  },
  'spool.stream-full': {
    level: 'warn',
    message: ({ stream, whenFull, maxBytes }) =>
      `stream ${stream} is full (${bytes(maxBytes)}): ${whenFull === 'block' ? 'acks wait' : whenFull} (I6)`,
    dampBy: ({ stream }) => stream,
  },
  'spool.dead-letters-full': {
    level: 'warn',
    message: ({ stream, maxBytes }) =>
      `stream ${stream} refuses messages, and its dead letters are full (${bytes(maxBytes)}): their acks wait until some are requeued or purged (I6)`,
    dampBy: ({ stream }) => stream,
  },
  'spool.retention': {
    level: 'warn',
    message: ({ stream, reason, records }) =>
      `${counted(records, 'record')} of stream ${stream} dropped: ${reason} (I9)`,
    dampBy: ({ stream, reason }) => `${stream} ${reason}`,
  },
  'spool.ingest-dead-letter': {
    level: 'warn',
    message: ({ stream, reason }) =>
      `a message for stream ${stream} became a dead letter: ${reason}`,
    dampBy: ({ stream, reason }) => `${stream} ${reason}`,
  },
  'spool.dead-letters-removed': {
    level: 'warn',
    message: ({ stream, count, reason }) =>
      `${count} dead letter${count === 1 ? '' : 's'} of stream ${stream} removed: ${reason} (I9)`,
    dampBy: ({ stream, reason }) => `${stream} ${reason}`,
  },
  'spool.orphaned-stream': {
    level: 'warn',
    message: ({ stream, pendingRecords }) =>
      `the spool holds ${counted(pendingRecords, 'record')} of stream ${stream}, which the configuration does not name: kept, not delivered`,
  },
  'spool.verified': {
    level: ({ missing }) => (missing > 0 ? 'error' : 'info'),
    message: ({ blocks, missing, durationMs }) =>
      `${counted(blocks, 'block')} verified in ${duration(durationMs)}, ${missing === 0 ? 'none is missing' : `${missing} are missing (I7)`}`,
  },
}
