/**
 * What the spool can do now, and why not more: for status, /readyz and metrics. Reads what its
 * parts say of themselves; since when is noted once a second, not by who asks.
 */

import type { SpoolState } from '../ports/status.ts'
import { bytes } from '../shared/text/words.ts'
import type { Committer } from './commit/committer.ts'
import type { DiskGuard } from './disk/guard.ts'

/**
 * A commit that runs for so long is no slow disk any more: an operator wants to know before devices
 * complain.
 */
const STALLED_AFTER_MS = 5_000

export interface Condition {
  readonly state: SpoolState
  /** null: it is ok. */
  readonly why: string | null
  /** Wall clock, ms, to the second. */
  readonly sinceMs: number
}

export class ConditionWatch {
  readonly #committer: Pick<Committer, 'failure' | 'runningMs'>
  readonly #disk: Pick<DiskGuard, 'freeBytes' | 'minFreeBytes' | 'wantedBytes' | 'low'>
  readonly #nowMs: () => number
  #stopping = false
  #noted: SpoolState = 'ok'
  #notedMs: number

  constructor(
    committer: Pick<Committer, 'failure' | 'runningMs'>,
    disk: Pick<DiskGuard, 'freeBytes' | 'minFreeBytes' | 'wantedBytes' | 'low'>,
    nowMs: () => number,
  ) {
    this.#committer = committer
    this.#disk = disk
    this.#nowMs = nowMs
    this.#notedMs = nowMs()
  }

  get current(): Condition {
    const { state, why } = this.#look()
    return { state, why, sinceMs: state === this.#noted ? this.#notedMs : this.#nowMs() }
  }

  /** Remembers when the state became what it is. */
  note(): void {
    const { state } = this.#look()
    if (state === this.#noted) return
    this.#noted = state
    this.#notedMs = this.#nowMs()
  }

  get isStopping(): boolean {
    return this.#stopping
  }

  stop(): void {
    this.#stopping = true
    this.note()
  }

  #look(): Pick<Condition, 'state' | 'why'> {
    if (this.#stopping) return { state: 'closed', why: 'it is being stopped' }
    const { failure } = this.#committer
    if (failure !== null) {
      const why = `a write failed; acks are withheld and reopening is tried: ${failure}`
      return { state: 'storage-failed', why }
    }
    const runningMs = this.#committer.runningMs ?? 0
    if (runningMs >= STALLED_AFTER_MS) {
      const seconds = Math.floor(runningMs / 1000)
      return {
        state: 'storage-failed',
        why: `a commit has been running for ${seconds} s: the disk does not answer; acks are withheld`,
      }
    }
    const { freeBytes, minFreeBytes, wantedBytes, low } = this.#disk
    if (!low) return { state: 'ok', why: null }
    const why = `${bytes(freeBytes)} of the disk are free, spool.minFreeBytes is ${bytes(minFreeBytes)}; ingest opens at ${bytes(wantedBytes)}: make room, or lower the key`
    return { state: 'read-only', why }
  }
}
