/**
 * Everything that needs attention, as `sluice status` says it (ports/findings.ts), and the view
 * where something can be done about it. Pure.
 */
import { type Finding, findingsOf } from '../../../ports/findings.ts'
import type { Status } from '../../../ports/status.ts'
import type { Tone } from './states.ts'
import { timeWords } from './times.ts'

interface Attention {
  readonly tone: Tone
  readonly text: string
  /** Path of the view that helps; null: none does. */
  readonly view: string | null
}

const VIEWS: Readonly<Record<Finding['about'], string | null>> = {
  configuration: 'configuration',
  spool: 'spool',
  damage: 'spool',
  restore: 'spool',
  clock: null,
  topics: 'configuration',
  devices: 'devices',
  silence: 'devices',
  sink: 'sinks',
  orphan: 'configuration',
  room: 'spool',
  parked: 'sinks',
  'dead-letters': 'dead-letters',
  dropped: 'spool',
}

/** The worst first; empty: nothing does. What the headline says of the spool is not said again. */
export function attentionOf(status: Status, nowMs: number): readonly Attention[] {
  return findingsOf(status, timeWords(nowMs))
    .filter(({ about }) => about !== 'spool')
    .map(({ about, isUrgent, text }) => ({
      tone: isUrgent ? 'act' : 'wait',
      text: `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`,
      view: VIEWS[about],
    }))
}
