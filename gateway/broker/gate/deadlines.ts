/**
 * When a connection has to go. Pure: one look at its clocks, taken at each sweep.
 *
 * Keepalive counts bytes, not packets, and is suspended while the gate itself does not read
 * [MQTT-3.1.2-24]; so a frame must complete in time, or a byte a minute would hold a connection for
 * ever.
 */
import type { MqttLimits } from '../config.ts'
import type { CloseReason } from '../events.ts'
import { MIN_FRAME_TIMEOUT_MS, MIN_UNREAD_TIMEOUT_MS, SUBSCRIBER_STALL_MS } from '../limits.ts'

export type ConnectionState = 'awaiting-connect' | 'authenticating' | 'opening' | 'open' | 'closed'

export interface Clocks {
  readonly state: ConnectionState
  /** When the state began. All times are monotonic ms. */
  readonly stateSinceMs: number
  /** 0: none. */
  readonly keepAliveSeconds: number
  readonly lastByteMs: number
  /** The gate reads from it. */
  readonly isReading: boolean
  /** Since when a frame is incomplete; null: none is. */
  readonly frameSinceMs: number | null
  /** Since when the peer has taken none of what waits for it; null: nothing waits. */
  readonly unreadSinceMs: number | null
  /** For how long QoS 1 or 2 copies have made no progress. */
  readonly copiesStalledMs: number
}

export function dueReason(
  clocks: Clocks,
  now: number,
  limits: Pick<MqttLimits, 'connectTimeout' | 'authTimeout'>,
): CloseReason | 'auth-timeout' | null {
  if (clocks.state === 'awaiting-connect') {
    return now - clocks.stateSinceMs > limits.connectTimeout ? 'connect-timeout' : null
  }
  if (clocks.state === 'authenticating') {
    return now - clocks.stateSinceMs > limits.authTimeout ? 'auth-timeout' : null
  }
  if (clocks.state !== 'open') return null
  const patienceMs = clocks.keepAliveSeconds * 1500
  if (clocks.isReading) {
    if (patienceMs > 0 && now - clocks.lastByteMs > patienceMs) return 'keepalive'
    const { frameSinceMs } = clocks
    if (frameSinceMs !== null && now - frameSinceMs > Math.max(patienceMs, MIN_FRAME_TIMEOUT_MS)) {
      return 'frame-timeout'
    }
  }
  if (clocks.copiesStalledMs > SUBSCRIBER_STALL_MS) return 'slow-subscriber'
  const { unreadSinceMs } = clocks
  if (unreadSinceMs !== null && now - unreadSinceMs > Math.max(patienceMs, MIN_UNREAD_TIMEOUT_MS)) {
    return 'slow-reader'
  }
  return null
}
