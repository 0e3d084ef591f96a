/** A verdict as a table for a person. Pure. */
import { count, type Row } from '../table.ts'
import type { Verdict } from './verify.ts'

export function verdictRows(verdict: Verdict): Row[] {
  const [published0, published1, published2] = verdict.published
  const [acked0, acked1, acked2] = verdict.acked
  const byQos = (zero: number, one: number, two: number): string =>
    `QoS 0 ${count(zero)}, QoS 1 ${count(one)}, QoS 2 ${count(two)}`
  return [
    ['published', published0 + published1 + published2, byQos(published0, published1, published2)],
    ['acknowledged', acked0 + acked1 + acked2, byQos(acked0, acked1, acked2)],
    ['lines stored', verdict.storedLines],
    ['readings stored', verdict.storedReadings],
    ['lost', verdict.lost, 'acknowledged and not stored'],
    ['duplicated', verdict.duplicated, 'QoS 2 stored twice'],
    ['reordered', verdict.reordered, 'first occurrences behind a later reading'],
    ['differing', verdict.differing, 'stored bytes that were never published'],
    ['unreadable', verdict.unreadable, 'stored lines that break the contract'],
    ['refused', verdict.refused, 'with a reason code: no promise, and final'],
    ['taken by nobody', verdict.untaken, 'the gateway said so (0x10)'],
    ['contradicted', verdict.contradicted, 'said to be taken by nobody, and stored'],
    ['sent anew', verdict.sentAnewRepeats, 'allowed: stored again after their session had ended'],
    ['QoS 1 repeats', verdict.qos1Repeats, 'allowed: the devices sent them again'],
    ['QoS 0 missing', verdict.qos0Missing, 'allowed'],
    [
      'not acknowledged',
      verdict.pending,
      'neither acknowledged nor stored: the devices still have them',
    ],
    ['foreign', verdict.foreign, 'of devices that the ledger does not know'],
  ]
}
