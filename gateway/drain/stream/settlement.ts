/**
 * What a judgement does to the queue, as one settlement: what is settled, parked, and made a dead
 * letter in its commit (I5, I9). Pure.
 */

import type { ParkedRecord, Pin, Refusal, Settlement } from '../../ports/stream-queue.ts'
import type { EmitDrainEvent } from '../events.ts'
import {
  type Acceptance,
  chooseDeadLetters,
  type DeadLetterChoice,
  type Judgement,
} from '../policy/parking.ts'

export interface Settling {
  readonly pin: Pin
  readonly judgement: Judgement
  /** Of the judgement's refused records, in their order. */
  readonly lines: readonly Uint8Array[]
  readonly parked: readonly ParkedRecord[]
  /** The highest acceptance, this answer's included. */
  readonly accepted: Acceptance | null
  readonly hasRoom: (bytes: number, letters: number) => boolean
  /** What a refused record takes as a dead letter. */
  readonly letterBytes: (refusal: Refusal) => number
  /** The request was fully acked. */
  readonly complete: boolean
}

export interface Settled {
  /** null: nothing is settled and nothing becomes a dead letter. */
  readonly settlement: Settlement | null
  /** The batch is settled through this seq. */
  readonly throughSeq: number
  readonly refused: readonly Refusal[]
  readonly letters: DeadLetterChoice
}

export function settlementOf(given: Settling): Settled {
  const { pin, judgement, lines, accepted, hasRoom, letterBytes, complete } = given
  const { spoolId } = pin
  const refused = refusalsOf(judgement, lines)
  const parked: Pick<ParkedRecord, 'spoolId' | 'seq' | 'bytes'>[] = [...given.parked]
  for (const refusal of refused)
    parked.push({ spoolId, seq: refusal.seq, bytes: letterBytes(refusal) })
  const letters = chooseDeadLetters(parked, accepted, spoolId, hasRoom)
  const throughSeq = judgement.throughSeq ?? pin.firstSeq - 1
  const dead = letters.seqs.length + letters.earlier.length
  if (judgement.throughSeq === null && dead === 0)
    return { settlement: null, throughSeq, refused, letters }
  // Of a split batch the rest stays protected; a hold gives everything back.
  const goesOn =
    pin.outerLastSeq > pin.lastSeq && throughSeq < pin.outerLastSeq && judgement.held === null
  const settlement: Settlement = {
    throughSeq,
    refused,
    deadLetter: letters.seqs,
    deadLetterEarlier: letters.earlier,
    gapsReported: complete,
    keepOuterLastSeq: goesOn ? pin.outerLastSeq : null,
  }
  return { settlement, throughSeq, refused, letters }
}

function refusalsOf(judgement: Judgement, lines: readonly Uint8Array[]): Refusal[] {
  return judgement.refused.map(({ seq, status, reason }, i) => {
    const line = lines[i]
    if (line === undefined) throw new Error(`no line for the refused seq ${seq}`)
    return {
      seq,
      status,
      reason: reason ?? (status === null ? 'refused' : `refused with ${status}`),
      line,
    }
  })
}

/** Tells of records that were parked and of those that became dead letters. */
export function reportSettled(
  settled: Pick<Settled, 'refused' | 'letters'>,
  who: { readonly sink: string; readonly stream: string },
  spoolId: string,
  tooLarge: boolean,
  emit: EmitDrainEvent,
): void {
  for (const { seq, status, reason } of settled.refused) {
    emit({ type: 'drain.parked', ...who, spoolId, seq, status, reason, tooLarge })
  }
  const { earlier, seqs } = settled.letters
  const all = [...earlier.map(({ seq }) => seq), ...seqs]
  const [firstSeq] = all
  const lastSeq = all.at(-1)
  if (firstSeq === undefined || lastSeq === undefined) return
  emit({ type: 'drain.dead-lettered', ...who, records: all.length, firstSeq, lastSeq })
}
