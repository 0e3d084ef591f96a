/**
 * A receiver and its sink in memory, whole or with one planted defect: what the conformance suite
 * must catch.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Batch, Sink, SinkAnswer } from '../../gateway/ports/sink.ts'
import type { TestReceiver } from './conformance.ts'

export type PlantedDefect =
  | 'acks without storing'
  | 'stores backwards'
  | 'another fingerprint each time'
  | 'carries no gap'
  | 'stores a repeat again'
  | 'knows a repeat only while it runs'
  | 'tells gaps of a batch that failed'
  | 'tells gaps with each repeat'
  | 'acks in an outage'
  | 'refuses in an outage'
  | 'tries again what an operator has to see to'
  | 'takes a lost answer for an ack'
  | 'says that nothing left when the answer is lost'
  | 'acks all of a batch that was taken in part'
  | 'acks what is refused'
  | 'takes what was requeued for what it refused'
  | 'acks what was given up'
  | 'says that nothing left when it is given up'
  | 'takes batches when it is closed'

interface Memory {
  readonly ids: string[]
  readonly batches: Set<string>
  readonly gaps: string[]
  isOut: boolean
  isInTrouble: boolean
  losesAnswer: boolean
  takesThrough: number | null
  refuses: number | null
}

/** Longer than some aborts of the suite take, shorter than others. */
const ANSWER_MS = 4
const SAID = { code: null, sinkDateMs: null } as const
const LOST = { ...SAID, kind: 'retry', scope: 'sink', retryAfterMs: null, answered: false } as const

/** @param config what a child process makes a sink of */
export function plantedReceiver(
  defect: PlantedDefect | null,
  config: TestReceiver['config'],
): TestReceiver {
  const memory: Memory = {
    ids: [],
    batches: new Set(),
    gaps: [],
    isOut: false,
    isInTrouble: false,
    losesAnswer: false,
    takesThrough: null,
    refuses: null,
  }
  let sinks = 0
  return {
    sink: () => plantedSink(memory, defect, ++sinks),
    config,
    ids: () => [...memory.ids],
    gaps: () => [...memory.gaps],
    outage: () => {
      memory.isOut = true
      return () => {
        memory.isOut = false
      }
    },
    trouble: () => {
      memory.isInTrouble = true
      return () => {
        memory.isInTrouble = false
      }
    },
    loseAnswer: () => {
      memory.losesAnswer = true
    },
    takeThrough: (seq) => {
      memory.takesThrough = seq
    },
    refuse: (seq) => {
      memory.refuses = seq
      return () => {
        memory.refuses = null
      }
    },
    close: async () => undefined,
  }
}

function plantedSink(memory: Memory, defect: PlantedDefect | null, sinkNumber: number): Sink {
  const scope = defect === 'knows a repeat only while it runs' ? `${sinkNumber}:` : ''
  let isClosed = false
  const isPlanted = (one: PlantedDefect): boolean => defect === one
  const take = async (batch: Batch, through: number): Promise<void> => {
    const name = `${scope}${batch.firstSeq}-${through}`
    const isRepeat = memory.batches.has(name) && !isPlanted('stores a repeat again')
    if (!isRepeat || isPlanted('tells gaps with each repeat')) tellGaps(memory, batch)
    if (isRepeat || isPlanted('acks without storing')) return
    memory.batches.add(name)
    const ids: string[] = []
    for await (const { id, seq, line } of batch.records()) {
      const isDropped =
        isPlanted('takes what was requeued for what it refused') &&
        Buffer.from(line).includes('"requeuedFrom"')
      if (seq <= through && !isDropped) ids.push(id)
    }
    memory.ids.push(...(isPlanted('stores backwards') ? ids.toReversed() : ids))
  }
  const send = async (batch: Batch, signal: AbortSignal): Promise<SinkAnswer> => {
    const acked: SinkAnswer = { ...SAID, kind: 'verdicts', ackedThrough: null, listed: [] }
    const isShut = (): boolean => isClosed && !isPlanted('takes batches when it is closed')
    if (isShut()) return { ...LOST, detail: 'closed', unsent: true }
    if (isPlanted('tells gaps of a batch that failed')) tellGaps(memory, batch)
    if (memory.isOut) {
      if (isPlanted('acks in an outage')) return acked
      if (isPlanted('refuses in an outage')) return { ...SAID, kind: 'refused', detail: 'out' }
      return { ...LOST, detail: 'out' }
    }
    if (memory.isInTrouble) {
      const detail = 'the operator knows'
      if (isPlanted('tries again what an operator has to see to')) return { ...LOST, detail }
      return { ...SAID, kind: 'hold', scope: 'sink', detail }
    }
    const isRefused = memory.refuses !== null && isIn(batch, memory.refuses)
    if (isRefused && !isPlanted('acks what is refused'))
      return { ...SAID, kind: 'refused', detail: 'one of them' }
    await sleep(ANSWER_MS)
    const wasGivenUp = signal.aborted || isShut()
    if (wasGivenUp && isPlanted('acks what was given up')) return acked
    if (wasGivenUp && !isPlanted('says that nothing left when it is given up'))
      return { ...LOST, detail: 'given up', unsent: true }
    const through = memory.takesThrough ?? batch.lastSeq
    await take(batch, through)
    if (wasGivenUp) return { ...LOST, detail: 'given up', unsent: true }
    if (memory.losesAnswer) {
      memory.losesAnswer = false
      if (isPlanted('takes a lost answer for an ack')) return acked
      const unsent = isPlanted('says that nothing left when the answer is lost')
      return { ...LOST, detail: 'lost', unsent }
    }
    if (through === batch.lastSeq || isPlanted('acks all of a batch that was taken in part'))
      return acked
    return { ...acked, ackedThrough: through }
  }
  const fingerprint = isPlanted('another fingerprint each time')
    ? `memory:${sinkNumber}`
    : 'memory:ids'
  return {
    name: 'memory',
    encoder: {
      fingerprint,
      stitches: null,
      gapsThatFit: (gaps) => (isPlanted('carries no gap') ? 0 : gaps.length),
    },
    health: { connected: null, detail: null },
    start: () => undefined,
    send,
    onChange: () => undefined,
    close: async () => {
      isClosed = true
    },
  }
}

function isIn({ firstSeq, lastSeq }: Batch, seq: number): boolean {
  return firstSeq <= seq && seq <= lastSeq
}

function tellGaps({ gaps }: Memory, batch: Batch): void {
  for (const { firstSeq, lastSeq, reason } of batch.gaps)
    gaps.push(`${firstSeq}-${lastSeq} ${reason}`)
}
