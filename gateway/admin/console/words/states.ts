/** How delivery, sinks and spool stand, in words. Pure. */
import { deliveryText as textOf } from '../../../ports/findings.ts'
import type {
  DeliveryState,
  DeliveryStatus,
  SinkStatus,
  SpoolState,
} from '../../../ports/status.ts'
import { timeWords } from './times.ts'

/** `ok`: nothing to do. `wait`: goes on by itself. `act`: waits for a person. `idle`: neither. */
export type Tone = 'ok' | 'wait' | 'act' | 'idle'

export const DELIVERY_TONE: Readonly<Record<DeliveryState, Tone>> = {
  ok: 'ok',
  retrying: 'wait',
  held: 'act',
}

export const SPOOL_TONE: Readonly<Record<SpoolState, Tone>> = {
  ok: 'ok',
  'read-only': 'act',
  'storage-failed': 'act',
  closed: 'idle',
}

/** What a state of delivery asks of a person. */
export const DELIVERY_MEANING: Readonly<Record<DeliveryState, string>> = {
  ok: 'Readings are delivered.',
  retrying: 'Everything is kept and tried again by itself.',
  held: 'Everything is kept. Mend the cause; it is asked again by itself, or now by Retry.',
}

/** `held since 14:02 (38 min): 401, check the token file; next try in 22 s`. */
export function deliveryText(delivery: DeliveryStatus, nowMs: number): string {
  return textOf(delivery, timeWords(nowMs))
}

/** What the receiver's ack means, and how often a record may come. */
export function promiseText({ promise }: SinkStatus): string {
  return `${promise.delivery}; an ack means ${promise.ack}`
}
