import { crc32 } from 'node:zlib'
import { expect, it } from 'vitest'
import {
  decodeState,
  encodeState,
  type StateRecord,
  stateBytes,
} from '../../../gateway/spool/commit/state-record.ts'
import { newStreamState } from '../../../gateway/spool/stream/state.ts'

const identity = { spoolId: 'k3f9x2m7q4w8z', gateway: 'edge-01' }

function record(streams: number): StateRecord {
  return {
    version: 1,
    commit: 7,
    previous: 6,
    checkpoint: false,
    firstState: 2,
    ...identity,
    streams: Array.from({ length: streams }, (_, id) => ({
      state: newStreamState(`stream-${id}`, id, identity),
      added: [],
      sealed: null,
    })),
  }
}

const JOURNALS = [
  ['qos2', Buffer.from('ids')],
  ['sessions', Buffer.alloc(0)],
  ['qos2', Buffer.from('more ids')],
] as const

it('gives back what was encoded, however large, and is much smaller with many streams', () => {
  for (const streams of [0, 1, 100]) {
    const json = JSON.stringify(record(streams))
    const value = encodeState(json, JOURNALS, streams === 1)
    expect(decodeState(value)).toEqual({ record: record(streams), journals: JOURNALS })
    if (streams === 100) expect(value.length).toBeLessThan(json.length / 10)
  }
})

it('of few streams is written as it is where an ack waits for it', () => {
  const text = Buffer.from(JSON.stringify(record(1)))
  const value = Buffer.concat([Buffer.from('SLS1'), Buffer.alloc(8), text])
  value.writeUInt32BE(text.length, 8)
  value.writeUInt32BE(crc32(value.subarray(8)), 4)
  expect(encodeState(text.toString(), [], false)).toEqual(value)
  expect(decodeState(value)).toEqual({ record: record(1), journals: [] })
  expect(stateBytes(Buffer.concat([value, Buffer.from('more')]))).toBe(value.length)
})

it.each([1, 10])(
  'I7: of %i streams is found in raw bytes with all its journals, and not once a byte has changed',
  (streams) => {
    const value = encodeState(JSON.stringify(record(streams)), JOURNALS, false)
    const behind = Buffer.alloc(100, 0x55)
    expect(stateBytes(Buffer.concat([value, behind]))).toBe(value.length)
    for (let at = 0; at < value.length; at++) {
      const damaged = Buffer.from(value)
      damaged[at] = (damaged[at] as number) ^ 0x10
      expect(decodeState(damaged), `byte ${at}`).toBe(null)
      expect(stateBytes(Buffer.concat([damaged, behind])), `byte ${at}`).toBe(0)
    }
  },
)

it('I4, I9: of an earlier version it keeps the form of a batch in flight, and its gaps', () => {
  const bounds = { spoolId: 'k3f9x2m7q4w8z', firstSeq: 4, lastSeq: 9, recordCount: 6 }
  const place = { ...bounds, identity: 0, outerLastSeq: 9 }
  const state = newStreamState('telemetry', 1, identity)
  const older = (pin: object | null, pinnedGaps: number): string => {
    const streams = [{ state: { ...state, pin, pinnedGaps }, added: [], sealed: null }]
    return JSON.stringify({ ...record(0), format: 2, streams })
  }
  const pinOf = (json: string): unknown =>
    decodeState(encodeState(json, [], false))?.record.streams[0]?.state.pin
  const limits = { maxRecords: 10, maxBytes: 1000 }
  const pin = { ...place, gaps: '1-2;reason=expired, 3-3;reason=unused', encoding: 'gzip', limits }
  expect(pinOf(older(pin, 2))).toEqual({
    ...place,
    gapCount: 2,
    fingerprint: 'http:ndjson:gzip',
    limits,
  })
  expect(pinOf(older({ ...place, gaps: null, encoding: 'identity' }, 0))).toEqual({
    ...place,
    gapCount: 0,
    fingerprint: 'http:ndjson:identity',
  })
  expect(pinOf(older(null, 0))).toBeNull()
})
