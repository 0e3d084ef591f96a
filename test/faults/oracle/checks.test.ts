import { describe, expect, test } from 'vitest'
import type { Status } from '../../../gateway/ports/status.ts'
import {
  balanceFaults,
  type DeviceStory,
  deviceFaults,
  doubledReadings,
  lostReadings,
  monotonyFaults,
  orderFaults,
  refusedReadings,
  strangeReadings,
} from './checks.ts'

function story(fields: Partial<DeviceStory>): DeviceStory {
  const stored = fields.stored ?? []
  return {
    device: 'press-1',
    qos: 1,
    lossy: false,
    first: 1,
    published: Math.max(0, ...stored),
    acked: [],
    refused: [],
    abandoned: [],
    resumedFrom: [],
    stored,
    ...fields,
  }
}

describe('the checks of a device', () => {
  test('have nothing to say when everything is there once and in order', () => {
    for (const qos of [1, 2] as const) {
      expect(deviceFaults(story({ qos, acked: [1, 2, 3], stored: [1, 2, 3] }))).toEqual([])
    }
    expect(deviceFaults(story({ first: 4, published: 3 })), 'nothing happened').toEqual([])
  })

  test('I1: an acknowledged reading that is not at the sink is lost, by whatever qos', () => {
    expect(lostReadings(story({ acked: [1, 2, 3], stored: [1, 3] }))[0]).toMatch(/I1: .* sink: 2$/)
    expect(lostReadings(story({ qos: 2, acked: [1] }))).toHaveLength(1)
    expect(lostReadings(story({ lossy: true, acked: [1] })), 'its stream may drop it').toEqual([])
    expect(
      lostReadings(story({ acked: [1], stored: [1, 2] })),
      'more than was acknowledged',
    ).toEqual([])
  })

  test('I3: a reading at QoS 2 is stored once, one at QoS 1 as often as it was sent', () => {
    const twice = { stored: [1, 2, 2, 3], resumedFrom: [2] }
    expect(doubledReadings(story({ ...twice, qos: 2 }))[0]).toMatch(/once: 2$/)
    expect(deviceFaults(story(twice))).toEqual([])
  })

  test('I9: what was refused with a reason code is not stored', () => {
    const lossy = { lossy: true, acked: [1, 3], refused: [2] }
    expect(deviceFaults(story({ ...lossy, stored: [1, 3] }))).toEqual([])
    expect(refusedReadings(story({ ...lossy, stored: [1, 2, 3] }))[0]).toMatch(/stored: 2$/)
  })

  test('I4: what was settled before, or never published, is a stranger', () => {
    expect(strangeReadings(story({ first: 5, published: 6, stored: [4, 5, 6, 7] }))[0]).toMatch(
      /5 to 6: 4, 7$/,
    )
  })

  test('I2: the order goes back only where a connection began again', () => {
    expect(orderFaults(story({ stored: [1, 2, 3, 2, 3, 4], resumedFrom: [2] }))).toEqual([])
    expect(orderFaults(story({ stored: [1, 2, 3, 2, 3, 4], resumedFrom: [3] }))).toHaveLength(1)
    expect(orderFaults(story({ stored: [1, 2, 3, 2, 3, 4] }))).toHaveLength(1)
    expect(orderFaults(story({ stored: [1, 3, 2, 4], resumedFrom: [2] }))).toHaveLength(1)
    expect(orderFaults(story({ stored: [2, 3] })), 'the first is missing').toHaveLength(1)
    const thrice = { stored: [1, 2, 1, 1, 2, 3], resumedFrom: [1, 1, 1] }
    expect(
      orderFaults(story(thrice)),
      'a connection of which nothing was taken leaves no trace',
    ).toEqual([])
    expect(orderFaults(story({ ...thrice, resumedFrom: [1] })), 'each goes back once').toHaveLength(
      1,
    )
  })

  test('I2: what was given up with its session may be missing, and nothing else', () => {
    const qos2 = { qos: 2, abandoned: [2, 3] } as const
    expect(deviceFaults(story({ ...qos2, acked: [1, 4], stored: [1, 4] }))).toEqual([])
    expect(deviceFaults(story({ ...qos2, acked: [1, 4], stored: [1, 2, 4] }))).toEqual([])
    expect(orderFaults(story({ ...qos2, stored: [1, 5] }))).toHaveLength(1)
    expect(orderFaults(story({ ...qos2, stored: [1, 3, 2, 4] }))).toHaveLength(1)
    expect(doubledReadings(story({ ...qos2, stored: [1, 2, 2, 4] }))).toHaveLength(1)
  })

  test('I2: at QoS 2 it never goes back, and a lossy stream may skip but not turn', () => {
    expect(orderFaults(story({ qos: 2, stored: [1, 2, 2], resumedFrom: [2] }))).toHaveLength(1)
    expect(orderFaults(story({ lossy: true, stored: [3, 7, 8] }))).toEqual([])
    expect(orderFaults(story({ lossy: true, stored: [3, 7, 6] }))).toHaveLength(1)
    expect(orderFaults(story({ lossy: true, stored: [3, 7, 6], resumedFrom: [5] }))).toEqual([])
  })
})

function stream(counters: Record<string, unknown>, deadLetters = {}): Status['streams'][number] {
  return {
    name: 'telemetry',
    counters: {
      received: 10,
      requeued: 0,
      delivered: 10,
      deadLettered: 0,
      pending: 0,
      dropped: {},
      ...counters,
    },
    deadLetters: { kept: 0, keptBytes: 0, requeued: 0, removed: {}, ...deadLetters },
  } as unknown as Status['streams'][number]
}

const totals = (stored: number, gaps = {}) => new Map([['telemetry', { stored, gaps }]])

describe('the checks of the balance', () => {
  test('I5: agree with a gateway that counts what the sink has and was told', () => {
    expect(balanceFaults([stream({})], totals(10))).toEqual([])
    const dropped = { received: 15, dropped: { 'dropped-oldest': 3, expired: 2 } }
    expect(
      balanceFaults(
        [stream(dropped)],
        totals(10, { 'dropped-oldest': 3, expired: 2, unused: 99_992 }),
      ),
    ).toEqual([])
    expect(
      balanceFaults([stream({ received: 0, delivered: 0 })], new Map()),
      'no record yet',
    ).toEqual([])
  })

  test('I5: see a record too many or too few, although the counters agree with each other', () => {
    expect(balanceFaults([stream({})], totals(9))).toHaveLength(1)
    expect(balanceFaults([stream({ received: 11, pending: 1 })], totals(10))).toHaveLength(1)
    const dropped = { received: 13, dropped: { 'dropped-oldest': 3 } }
    expect(
      balanceFaults([stream(dropped)], totals(10, { 'dropped-oldest': 2 })),
      'a gap too short',
    ).toHaveLength(1)
    expect(
      balanceFaults([stream({})], totals(10, { corrupt: 1 })),
      'a gap of nothing',
    ).toHaveLength(1)
  })

  test('I5: see counters that disagree with each other, dead letters included', () => {
    expect(balanceFaults([stream({ received: 11 })], totals(10))).toHaveLength(1)
    expect(balanceFaults([stream({ received: 11, deadLettered: 1 })], totals(10))).toHaveLength(1)
    expect(
      balanceFaults([stream({ received: 11, deadLettered: 1 }, { kept: 1 })], totals(10)),
    ).toEqual([])
  })

  test('I5: see a counter that falls across a restart', () => {
    expect(
      monotonyFaults([stream({})], [stream({ received: 12, delivered: 11, pending: 1 })]),
    ).toEqual([])
    expect(monotonyFaults([stream({})], [stream({ delivered: 9, pending: 1 })])[0]).toMatch(
      /delivered fell/,
    )
    const before = stream({ dropped: { expired: 2 } })
    expect(monotonyFaults([before], [stream({ dropped: { expired: 1 } })])).toHaveLength(1)
    expect(monotonyFaults([], [stream({})])).toEqual([])
  })
})
