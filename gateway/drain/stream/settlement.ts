/**
 * What a verdict does to the queue, as one settlement: what is settled, parked, and made a dead
 * letter in its commit (I5, I9). Pure.
 */

import type { ParkedRecord, Pin, RefusedRecord, Settlement } from '../../ports/stream-queue.ts'
import { writtenCode } from '../../shared/text/answer-code.ts'
import type { EmitDrainEvent } from '../events.ts'
import { type Acceptance, chooseDeadLetters } from '../policy/parking.ts'
import type { Verdict } from '../policy/retry-policy.ts'
import type { RecordRun } from '../policy/verdicts.ts'

/** A verdict that settles records. */
export type SettlingVerdict = Extract<Verdict, { kind: 'acked' | 'park' }>

interface SettlementInput {
  readonly pin: Pin
  readonly verdict: SettlingVerdict
  /** Of the refused records in the verdict's runs, in their order. */
  readonly lines: readonly Uint8Array[]
  readonly parked: readonly ParkedRecord[]
  /** The highest acceptance, this answer's included. */
  readonly accepted: Acceptance | null
  readonly hasRoom: (bytes: number, letters: number) => boolean
  /** What a refused record takes as a dead letter. */
  readonly letterBytes: (refusal: RefusedRecord) => number
}

interface PlannedSettlement {
  /** null: nothing is settled and nothing becomes a dead letter. */
  readonly settlement: Settlement | null
  /** Records that should become dead letters and found no room. */
  readonly withoutRoom: number
}

export function settlementOf(input: SettlementInput): PlannedSettlement {
  const { pin, verdict, accepted } = input
  const refused = refusalsOf(verdict.runs, input.lines)
  const parked: Pick<ParkedRecord, 'spoolId' | 'seq' | 'bytes'>[] = [...input.parked]
  for (const refusal of refused) {
    parked.push({ spoolId: pin.spoolId, seq: refusal.seq, bytes: input.letterBytes(refusal) })
  }
  const letters = chooseDeadLetters(parked, accepted, pin.spoolId, input.hasRoom)
  const withoutRoom = letters.left
  const lastSeq = verdict.runs.at(-1)?.lastSeq ?? null
  if (lastSeq === null && letters.seqs.length + letters.earlier.length === 0) {
    return { settlement: null, withoutRoom }
  }
  const throughSeq = lastSeq ?? pin.firstSeq - 1
  // Of a split batch the rest stays protected; a hold gives everything back.
  const continues =
    pin.outerLastSeq > pin.lastSeq && throughSeq < pin.outerLastSeq && verdict.distrust === null
  const settlement: Settlement = {
    throughSeq,
    refused,
    deadLetter: letters.seqs,
    deadLetterEarlier: letters.earlier,
    gapsReported: isComplete(verdict),
    keepOuterLastSeq: continues ? pin.outerLastSeq : null,
  }
  return { settlement, withoutRoom }
}

/** All records of the batch were acked. */
export function isComplete(verdict: Verdict): boolean {
  return verdict.kind === 'acked' && verdict.resendFrom === null && verdict.refused === 0
}

/** Seqs of the refused records among the runs. */
export function refusedSeqs(runs: readonly RecordRun[]): number[] {
  return runs.flatMap((run) => (run.kind === 'refused' ? [run.listed.seq] : []))
}

function refusalsOf(runs: readonly RecordRun[], lines: readonly Uint8Array[]): RefusedRecord[] {
  const listed = runs.flatMap((run) => (run.kind === 'refused' ? [run.listed] : []))
  return listed.map(({ seq, code, reason }, i) => {
    const line = lines[i]
    if (line === undefined) throw new Error(`no line for the refused seq ${seq}`)
    const words = reason ?? (code === null ? 'refused' : `refused with ${code}`)
    return { seq, code, reason: words, line }
  })
}

/** Tells of records that were parked. */
export function reportParked(
  refused: readonly Pick<RefusedRecord, 'seq' | 'code' | 'reason'>[],
  where: { readonly sink: string; readonly stream: string; readonly spoolId: string },
  tooLarge: boolean,
  emit: EmitDrainEvent,
): void {
  for (const { seq, code, reason } of refused) {
    const status = writtenCode(code)
    emit({ type: 'drain.parked', ...where, seq, status, reason, tooLarge })
  }
}

/** Tells of records that became dead letters, by their seqs in order. */
export function reportDeadLetters(
  seqs: readonly number[],
  where: { readonly sink: string; readonly stream: string },
  emit: EmitDrainEvent,
): void {
  const [firstSeq] = seqs
  const lastSeq = seqs.at(-1)
  if (firstSeq === undefined || lastSeq === undefined) return
  emit({ type: 'drain.dead-lettered', ...where, records: seqs.length, firstSeq, lastSeq })
}
