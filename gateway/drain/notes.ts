/**
 * What the drain remembers across restarts, as small durable notes: what is left of a Retry-After,
 * holds, and the learned batch limits. Encodes, decodes, and survives notes that it does not
 * understand. Serves I8.
 */

import type { NoteStore } from '../ports/stream-queue.ts'
import { codeOf, writtenCode } from '../shared/text/answer-code.ts'
import type { Clock } from './clock.ts'
import type { Acceptance } from './policy/parking.ts'
import type { HoldReason } from './policy/retry-policy.ts'

/** Learned from answers that something was too large, and from the time that tries take. */
export type LimitKind = 'batch-bytes' | 'pace-bytes'

export interface HoldNote {
  readonly reason: HoldReason
  readonly code: string | null
  readonly detail: string
  /** Wall clock, ms. */
  readonly sinceMs: number
  /** The stream whose answer it was; null: a stream's own hold. */
  readonly stream: string | null
  /** Which parked records are ripe, for `dead-letters-full`. */
  readonly accepted: Acceptance | null
}

/** A wait that a sink asked for, with both clocks of its beginning. */
interface WaitNote {
  readonly waitMs: number
  readonly bootId: string | null
  readonly monotonicMs: number
  readonly wallMs: number
}

const HOLD_REASONS: readonly HoldReason[] = [
  'answer',
  'malformed',
  'clone',
  'refusals',
  'dead-letters-full',
]

export class DrainNotes {
  readonly #store: NoteStore
  readonly #clock: Clock
  readonly #keep: (stored: Promise<void>) => void

  /** `keep` takes the promise of each note to its end. */
  constructor(store: NoteStore, clock: Clock, keep: (stored: Promise<void>) => void) {
    this.#store = store
    this.#clock = clock
    this.#keep = keep
  }

  setWait(sink: string, waitMs: number | null): void {
    if (waitMs === null) return this.#set(`drain/wait/${sink}`, null)
    const note: WaitNote = { waitMs, ...this.#stamp(), wallMs: this.#clock.wallMs() }
    this.#set(`drain/wait/${sink}`, note)
  }

  /**
   * What is left of the wait, ms, at most `maxMs`; 0: none. After a reboot, and where the system
   * does not tell boots apart, it is the full wait again: the monotonic clock started anew and the
   * wall clock may be wrong.
   */
  waitLeftMs(sink: string, maxMs: number): number {
    const note = this.#get(`drain/wait/${sink}`)
    const { waitMs } = note ?? {}
    if (!isTime(waitMs)) return 0
    return Math.min(maxMs, Math.max(0, waitMs - (this.#passedMs(note) ?? 0)))
  }

  setHold(sink: string, stream: string | null, hold: HoldNote | null): void {
    if (hold === null) return this.#set(holdKey(sink, stream), null)
    const { code, ...rest } = hold
    this.#set(holdKey(sink, stream), { ...rest, status: writtenCode(code), ...this.#stamp() })
  }

  /** How long the noted hold has lasted, ms, as far as is known: within this boot. */
  heldMs(sink: string, stream: string | null): number {
    return this.#passedMs(this.#get(holdKey(sink, stream))) ?? 0
  }

  hold(sink: string, stream: string | null): HoldNote | null {
    const note = this.#get(holdKey(sink, stream))
    const reason = HOLD_REASONS.find((one) => one === note?.['reason'])
    if (note === null || reason === undefined) return null
    const { status, detail, sinceMs, accepted } = note
    return {
      reason,
      code: typeof status === 'number' || typeof status === 'string' ? codeOf(status) : null,
      detail: typeof detail === 'string' ? detail : '',
      sinceMs: isTime(sinceMs) ? sinceMs : this.#clock.wallMs(),
      stream: typeof note['stream'] === 'string' ? note['stream'] : null,
      accepted: isAcceptance(accepted) ? accepted : null,
    }
  }

  setBatchBytes(kind: LimitKind, sink: string, bytes: number | null): void {
    this.#set(`drain/${kind}/${sink}`, bytes === null ? null : { bytes })
  }

  batchBytes(kind: LimitKind, sink: string): number | null {
    const bytes = this.#get(`drain/${kind}/${sink}`)?.['bytes']
    return isTime(bytes) ? bytes : null
  }

  #stamp(): { readonly bootId: string | null; readonly monotonicMs: number } {
    return { bootId: this.#clock.bootId, monotonicMs: this.#clock.monotonicMs() }
  }

  /**
   * Since the note was made, ms; null: not known, there was a reboot, or boots cannot be told
   * apart.
   */
  #passedMs(note: Readonly<Record<string, unknown>> | null): number | null {
    const { bootId, monotonicMs } = note ?? {}
    const passedMs = isTime(monotonicMs) ? this.#clock.monotonicMs() - monotonicMs : -1
    const isSameBoot = typeof bootId === 'string' && bootId === this.#clock.bootId
    return isSameBoot && passedMs >= 0 ? passedMs : null
  }

  #get(key: string): Readonly<Record<string, unknown>> | null {
    try {
      const note: unknown = JSON.parse(this.#store.get(key) ?? 'null')
      return typeof note === 'object' && note !== null ? (note as Record<string, unknown>) : null
    } catch {
      return null
    }
  }

  #set(key: string, note: object | null): void {
    this.#keep(this.#store.set(key, note === null ? null : JSON.stringify(note)))
  }
}

/** Names are `[a-z0-9-]`: a slash cannot be part of one. */
function holdKey(sink: string, stream: string | null): string {
  return stream === null ? `drain/hold/${sink}` : `drain/hold/${sink}/${stream}`
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function isAcceptance(value: unknown): value is Acceptance {
  if (typeof value !== 'object' || value === null) return false
  const { spoolId, seq } = value as Readonly<Record<string, unknown>>
  return typeof spoolId === 'string' && typeof seq === 'number'
}
