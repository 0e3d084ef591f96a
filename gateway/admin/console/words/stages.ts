/** The stages of a reading, in words. Pure. */
import type { ReadingStage, TestReading } from '../../../ports/trials.ts'

export const STAGE_WORDS: Readonly<
  Record<ReadingStage, { readonly name: string; readonly means: string }>
> = {
  arrived: { name: 'Arrived', means: 'the gateway has it in memory' },
  committed: { name: 'Committed', means: 'it is on this box’s disk, fsynced' },
  acknowledged: { name: 'Acknowledged', means: 'the device may forget it' },
  sent: { name: 'Sent', means: 'it left for the sink' },
  stored: { name: 'Stored', means: 'the sink has it, and this box deletes it' },
}

/** Nothing more will come. */
export function isThere({ stages }: TestReading): boolean {
  return stages.every(({ atMs }) => atMs !== null)
}
