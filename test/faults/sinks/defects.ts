/**
 * Defects that a test plants into a gateway, whatever the type of its sink, to show that the
 * campaign sees them; a type's own stand beside its receiver. Loaded by the preload alone.
 */
import type { Batch, Sink, SinkAnswer } from '../../../gateway/ports/sink.ts'
import { plantDefect } from '../death/defects.ts'
import { aroundEachSinkType } from '../death/fault-points.ts'
import { TESTED_TYPES } from './types.ts'

type Send = Sink['send']

function aroundSend(
  instead: (send: Send, batch: Batch, signal: AbortSignal) => Promise<SinkAnswer>,
) {
  aroundEachSinkType((create) => {
    const sink = create() as Sink
    const send = sink.send.bind(sink)
    sink.send = async (batch, signal) => await instead(send, batch, signal)
    return sink
  })
}

const PLANT = {
  /** I8: settled as it is read for sending, whatever the receiver says of it. */
  'settled before the answer': () => plantDefect('delete-before-answer'),

  /** I8: an answer that nobody got is taken for an ack. */
  'no answer is an ack': () => {
    aroundSend(async (send, batch, signal) => {
      const answer = await send(batch, signal)
      if (answer.kind !== 'retry' || signal.aborted) return answer
      return { kind: 'verdicts', code: null, sinkDateMs: null, ackedThrough: null, listed: [] }
    })
  },

  /** I4: after each start the batch has another name, so that nobody can know it again. */
  'a repeat is not known': () => {
    aroundSend(async (send, batch, signal) => {
      const spoolId = `${batch.spoolId.slice(0, 8)}${String(process.pid % 100_000).padStart(5, '0')}`
      return await send({ ...batch, spoolId }, signal)
    })
  },

  /** What was noted between two phases is gone with the process. */
  'notes are not durable': () => {
    const notes = new Map<string, string>()
    aroundSend(async (send, batch, signal) => {
      const key = `${batch.stream} ${batch.firstSeq} ${batch.lastSeq}`
      const keepNote = async (note: string): Promise<void> => void notes.set(key, note)
      return await send({ ...batch, note: notes.get(key) ?? null, keepNote }, signal)
    })
  },
} satisfies Readonly<Record<string, () => void>>

export type SinkDefect = keyof typeof PLANT

/** @param name `type/defect` */
export async function plantSinkDefect(name: string): Promise<void> {
  const [type = '', defect = ''] = name.split('/')
  const tested = (await TESTED_TYPES[type]?.()) ?? null
  const plant = tested?.defects?.[defect] ?? (PLANT as Record<string, () => void>)[defect]
  if (plant === undefined) throw new Error(`no defect ${defect} of ${type}`)
  plant()
}
