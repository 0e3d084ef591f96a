/** The time-outs of a connection, decided from its clocks alone. */
import { expect, test } from 'vitest'
import { type Clocks, dueReason } from '../../../gateway/broker/gate/deadlines.ts'

const limits = { connectTimeout: 10_000, authTimeout: 5_000 }

const open: Clocks = {
  state: 'open',
  stateSinceMs: 0,
  keepAliveSeconds: 60,
  lastByteMs: 0,
  isReading: true,
  frameSinceMs: null,
  unreadSinceMs: null,
  copiesStalledMs: 0,
}

test.each<[string, Clocks, number, string | null]>([
  ['CONNECT in time', { ...open, state: 'awaiting-connect' }, 10_000, null],
  ['no CONNECT', { ...open, state: 'awaiting-connect' }, 10_001, 'connect-timeout'],
  ['authentication in time', { ...open, state: 'authenticating' }, 5_000, null],
  ['no verdict', { ...open, state: 'authenticating' }, 5_001, 'auth-timeout'],
  ['a store that is stalled while a connection opens', { ...open, state: 'opening' }, 1e9, null],
  ['1.5 x keepalive', open, 90_000, null],
  ['over 1.5 x keepalive', open, 90_001, 'keepalive'],
  ['keepalive 0', { ...open, keepAliveSeconds: 0 }, 1e9, null],
  ['the gate does not read: keepalive is suspended', { ...open, isReading: false }, 1e9, null],
  [
    'a frame within 1.5 x keepalive',
    { ...open, lastByteMs: 90_000, frameSinceMs: 0 },
    90_000,
    null,
  ],
  [
    'a frame that trickles',
    { ...open, lastByteMs: 90_001, frameSinceMs: 0 },
    90_001,
    'frame-timeout',
  ],
  [
    'a frame within 60 s at a short keepalive',
    { ...open, keepAliveSeconds: 1, lastByteMs: 60_000, frameSinceMs: 0 },
    60_000,
    null,
  ],
  [
    'a frame over 60 s at a short keepalive',
    { ...open, keepAliveSeconds: 1, lastByteMs: 60_001, frameSinceMs: 0 },
    60_001,
    'frame-timeout',
  ],
  [
    'a frame over 60 s without keepalive',
    { ...open, keepAliveSeconds: 0, lastByteMs: 60_001, frameSinceMs: 0 },
    60_001,
    'frame-timeout',
  ],
  ['a subscriber that moves', { ...open, copiesStalledMs: 5_000 }, 1, null],
  ['a subscriber that blocks', { ...open, copiesStalledMs: 5_001 }, 1, 'slow-subscriber'],
  [
    'a peer that reads nothing',
    { ...open, keepAliveSeconds: 0, unreadSinceMs: 0 },
    60_001,
    'slow-reader',
  ],
  ['closed', { ...open, state: 'closed' }, 1e9, null],
])('%s', (_name, clocks, now, expected) => {
  expect(dueReason(clocks, now, limits)).toBe(expected)
})
