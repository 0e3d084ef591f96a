/** What a stream says of itself, for status and metrics. */
import type { StreamStats } from './stats.ts'
import { pendingByCounters } from './stream/counters.ts'
import { unskipped } from './stream/state.ts'
import type { SpoolStream } from './stream/stream.ts'

/** `drainedTo`: the sink that an operator gave an orphaned stream to; null: none. */
export function streamStats(stream: SpoolStream, drainedTo: string | null): StreamStats {
  const { view, state, config } = stream
  const { counters } = view
  const head = stream.index.at(unskipped(state, state.head.ordinal))
  const first = state.front[0]
  const identity = first?.identity ?? head?.identity ?? stream.identity
  return {
    name: stream.name,
    sink: config?.sink ?? drainedTo,
    priority: config?.priority ?? 9,
    orphaned: config === null,
    spoolId: state.identities.at(-1)?.spoolId ?? '',
    counters: {
      received: counters.received,
      requeued: counters.requeued,
      delivered: counters.delivered,
      deadLettered: counters.deadLettered,
      dropped: counters.dropped,
      pending: pendingByCounters(counters),
    },
    deadLetters: {
      kept: view.deadLettersKept,
      keptBytes: view.deadLetterBytes.ingest + view.deadLetterBytes.refused,
      bytesBy: view.deadLetterBytes,
      maxBytes: config?.deadLetters.maxBytes ?? 0,
      whenFull: config?.deadLetters.whenFull ?? null,
      requeued: counters.deadLettersRequeued,
      removed: counters.deadLettersRemoved,
    },
    backlogBytes: stream.pendingRawBytes,
    storedBytes: stream.storedBytes,
    maxBytes: config?.maxBytes ?? 0,
    // A parked record waits for the sink's next word about others, not for its turn.
    oldestReceivedAtMs: first?.receivedAtMs ?? head?.oldestMs ?? null,
    headSpoolId: state.identities[identity]?.spoolId ?? '',
    headSeq: first?.seq ?? (head ? head.firstSeq + state.head.index : view.nextSeq),
    nextSeq: view.nextSeq,
    parked: view.parked,
    illFormedTexts: stream.illFormedTexts,
  }
}
