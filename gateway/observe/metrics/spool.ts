/** Metrics of the spool as a whole: its state, its disk, its commits. */
import type { SpoolState } from '../../ports/status.ts'
import { type MetricDefinition, oneOf, single } from './definition.ts'

const SPOOL_STATES: readonly SpoolState[] = ['ok', 'read-only', 'storage-failed', 'closed']

export const SPOOL_METRICS: readonly MetricDefinition[] = [
  {
    type: 'gauge',
    name: 'sluice_spool_state',
    help: '1 for the state that the spool is in, 0 for the others.',
    labels: ['state'],
    read: ({ spool }) => oneOf('state', SPOOL_STATES, spool.state),
  },
  single(
    'gauge',
    'sluice_spool_folder_bytes',
    'Real size of the spool folder.',
    ({ spool }) => spool.folderBytes,
  ),
  single(
    'gauge',
    'sluice_spool_free_bytes',
    'Free on its file system.',
    ({ spool }) => spool.freeBytes,
  ),
  single(
    'gauge',
    'sluice_spool_min_free_bytes',
    'spool.minFreeBytes: with less than this free, ingest closes and delivery goes on (I6).',
    ({ spool }) => spool.minFreeBytes,
  ),
  single(
    'counter',
    'sluice_spool_commits_total',
    'Commits fsynced.',
    ({ spool }) => spool.stats.commits,
  ),
  single(
    'counter',
    'sluice_spool_commit_failures_total',
    'Commits that the disk rejected; each closes, reopens and reloads the spool. None is acknowledged (I1).',
    ({ spool }) => spool.stats.failedCommits,
  ),
  single(
    'counter',
    'sluice_spool_committed_records_total',
    'Records made durable.',
    ({ spool }) => spool.stats.committedRecords,
  ),
  single(
    'counter',
    'sluice_spool_committed_bytes_total',
    'Bytes handed to the store, compressed, without what the store itself writes again.',
    ({ spool }) => spool.stats.storedBytes,
  ),
  {
    type: 'histogram',
    name: 'sluice_spool_commit_seconds',
    help: 'From handing a commit to the store until it is fsynced.',
    labels: [],
    read: ({ spool }) => [{ labels: {}, histogram: spool.stats.commitSeconds }],
  },
  single(
    'gauge',
    'sluice_spool_verified',
    '1: after opening, every block between heads and next seqs was found. 0: not checked to the end, or some are missing.',
    ({ spool }) => (spool.verified === true ? 1 : 0),
  ),
  single(
    'gauge',
    'sluice_spool_damage_notes',
    'Damages found since the start; status tells each, and where the files were kept (I7).',
    ({ spool }) => spool.damage.length,
  ),
  single(
    'counter',
    'sluice_process_written_bytes_total',
    'Bytes that this process sent to disk (write_bytes): what wears out flash.',
    ({ writtenBytes }) => writtenBytes,
  ),
]
