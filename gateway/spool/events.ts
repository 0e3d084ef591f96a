/**
 * What the spool tells the world. `type` is `<stage>.<what>`; every event carries plain data only.
 */
export type SpoolEvent =
  | {
      readonly type: 'spool.opened'
      readonly spoolId: string
      readonly clean: boolean
      readonly pendingRecords: number
      readonly durationMs: number
    }
  | { readonly type: 'spool.identity-changed'; readonly spoolId: string; readonly why: string }
  /** A start or a read met damage; `kept` is the folder with the damaged files (I7). */
  | { readonly type: 'spool.damage'; readonly what: string; readonly kept: string | null }
  | {
      readonly type: 'spool.records-lost'
      readonly stream: string
      readonly spoolId: string
      readonly firstSeq: number
      readonly lastSeq: number
      readonly records: number
    }
  | { readonly type: 'spool.write-failed'; readonly code: string; readonly detail: string }
  | { readonly type: 'spool.storage-failed'; readonly detail: string; readonly retryMs: number }
  | {
      readonly type: 'spool.recovered'
      readonly outageMs: number
      readonly renumberedRecords: number
    }
  | { readonly type: 'spool.disk-low'; readonly freeBytes: number; readonly minFreeBytes: number }
  | { readonly type: 'spool.disk-ok'; readonly freeBytes: number }
  | {
      readonly type: 'spool.stream-full'
      readonly stream: string
      readonly whenFull: string
      readonly maxBytes: number
    }
  /** With `deadLetters.whenFull: hold`: what the stream refuses at ingest waits. */
  | { readonly type: 'spool.dead-letters-full'; readonly stream: string; readonly maxBytes: number }
  | {
      readonly type: 'spool.retention'
      readonly stream: string
      readonly reason: 'expired' | 'dropped-oldest'
      readonly records: number
    }
  | {
      readonly type: 'spool.ingest-dead-letter'
      readonly stream: string
      readonly id: string
      readonly reason: string
    }
  | {
      readonly type: 'spool.dead-letters-removed'
      readonly stream: string
      readonly reason: 'quota' | 'expired' | 'purged' | 'corrupt'
      readonly count: number
    }
  | {
      readonly type: 'spool.orphaned-stream'
      readonly stream: string
      readonly pendingRecords: number
    }
  | {
      readonly type: 'spool.verified'
      readonly blocks: number
      readonly missing: number
      readonly durationMs: number
    }

export type EmitSpoolEvent = (event: SpoolEvent) => void
