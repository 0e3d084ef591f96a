import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { dialectOf } from '../../../device-sim/fleet/dialect.ts'
import { Fleet, qosOf } from '../../../device-sim/fleet/fleet.ts'
import {
  type FaultRates,
  FLEET_DEFAULTS,
  type FleetOptions,
  NO_FAULTS,
} from '../../../device-sim/fleet/options.ts'
import { Ledger, type LedgerEntry } from '../../../device-sim/ledger/ledger.ts'
import { type Verdict, Verifier } from '../../../device-sim/ledger/verify.ts'
import { MosquittoServer } from '../../support/mosquitto.ts'
import { SEED } from '../../support/seed.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { StrictBroker, type StrictOptions } from './strict-broker.ts'

const seed = String(SEED)

interface Run {
  readonly fleet: Fleet
  readonly ledger: Ledger
  readonly broker: StrictBroker
}

const open: Run[] = []
afterEach(async () => {
  for (const { fleet, broker } of open.splice(0)) {
    await fleet.close()
    await broker.kill()
  }
})

async function startRun(
  options: Partial<FleetOptions>,
  faults: Partial<FaultRates> = {},
  says: StrictOptions = {},
): Promise<Run> {
  const broker = new StrictBroker(5, says)
  await broker.start()
  const ledger = new Ledger(null, seed, new Date())
  const fleet = new Fleet(
    {
      ...FLEET_DEFAULTS,
      url: broker.url,
      protocol: '3.1.1',
      seed,
      rampMs: 100,
      reconnect: { minMs: 20, maxMs: 200 },
      ...options,
      faults: { ...NO_FAULTS, ...faults },
    },
    ledger,
  )
  fleet.start()
  const run = { fleet, ledger, broker }
  open.push(run)
  return run
}

/** A reading has just come, and its ack waits in the broker: it has not left. */
async function untilUnanswered({ broker: { received } }: Run): Promise<void> {
  const before = received.length
  while (received.length === before) await turn()
}

async function finish({ fleet, ledger, broker }: Run): Promise<Verdict> {
  fleet.finish()
  expect(
    await fleet.acknowledged(20_000),
    `seed ${SEED}: ${ledger.unacknowledged} unacknowledged`,
  ).toBe(true)
  const verifier = new Verifier(ledger.entries())
  for (const [index, { client, payload }] of broker.received.entries()) {
    verifier.take(
      { gateway: 'g', spool: 'x', stream: 'broker' },
      { device: client, seq: index + 1, payload },
    )
  }
  const verdict = verifier.result()
  expect(broker.breaches, `seed ${SEED}`).toEqual([])
  expect(verdict.examples, `seed ${SEED}`).toEqual([])
  return verdict
}

describe('fleet', () => {
  test('readings of all three QoS arrive once, in order, and are acknowledged', async () => {
    const run = await startRun({ devices: 9, ratePerSecond: 300, qosShares: [1, 1, 1] })
    await sleep(1000)
    const verdict = await finish(run)
    expect(verdict.storedReadings).toBeGreaterThan(150)
    expect(verdict).toMatchObject({ ok: true, lost: 0, pending: 0, qos0Missing: 0, qos1Repeats: 0 })
    for (const count of verdict.published) expect(count).toBeGreaterThan(20)
    expect(run.fleet.stats.ackMs.count).toBe(verdict.acked[1] + verdict.acked[2])
  })

  test('cut at every point of an exchange, devices send again in order, with DUP and the same ids', async () => {
    const run = await startRun(
      { devices: 12, ratePerSecond: 600, qosShares: [0, 1, 1] },
      { dropsPerMinute: 60 },
    )
    await sleep(4000)
    const verdict = await finish(run)
    const { stats } = run.fleet
    for (const point of ['publish', 'puback', 'pubrec', 'pubrel', 'pubcomp'] as const) {
      expect(stats.dropsAt[point], `${point}, seed ${SEED}`).toBeGreaterThan(0)
    }
    expect(stats.resent).toBeGreaterThan(0)
    expect(stats.releasesResent).toBeGreaterThan(0)
    expect(run.broker.dupsSeen).toBeGreaterThan(0)
    expect(verdict.qos1Repeats).toBeGreaterThan(0)
    expect(verdict).toMatchObject({ ok: true, lost: 0, duplicated: 0, reordered: 0 })
  })

  test('a gateway that is away for seconds costs nothing', async () => {
    const run = await startRun({ devices: 10, ratePerSecond: 300 })
    await sleep(600)
    await run.broker.kill()
    await sleep(1500)
    expect(run.fleet.stats.connected).toBe(0)
    expect(run.fleet.stats.connectFailures).toBeGreaterThan(0)
    expect(run.ledger.unacknowledged).toBeGreaterThan(100)
    await run.broker.start()
    await sleep(500)
    const verdict = await finish(run)
    expect(verdict).toMatchObject({ ok: true, lost: 0, duplicated: 0, reordered: 0 })
    expect(run.fleet.stats.sessionsLost).toBe(0)
  })

  test('half-open links and storms are survived', async () => {
    const run = await startRun(
      { devices: 10, ratePerSecond: 200 },
      { halfOpensPerMinute: 15, stormsPerMinute: 60 },
    )
    await sleep(4000)
    const verdict = await finish(run)
    const { stats } = run.fleet
    expect(stats.halfOpens).toBeGreaterThan(0)
    expect(stats.storms).toBeGreaterThan(0)
    expect(stats.connects).toBeGreaterThan(10 + stats.storms)
    expect(verdict).toMatchObject({ ok: true, lost: 0, duplicated: 0, reordered: 0 })
  })

  test('duplicates, late and malformed readings are sent and told apart', async () => {
    const run = await startRun(
      { devices: 6, ratePerSecond: 400, qosShares: [0, 1, 1] },
      { duplicateShare: 0.2, lateShare: 0.1, malformedShare: 0.2 },
    )
    await sleep(1500)
    const verdict = await finish(run)
    const { stats } = run.fleet
    expect(verdict).toMatchObject({ ok: true, lost: 0, duplicated: 0, reordered: 0 })
    expect(stats.duplicates).toBeGreaterThan(10)
    expect(verdict.qos1Repeats).toBeGreaterThan(10)
    expect(verdict.qos1Repeats).toBeLessThan(stats.duplicates)
    expect(stats.late).toBeGreaterThan(10)
    const byDevice = new Map<string, number>()
    let outOfNumber = 0
    for (const { device, n } of run.ledger.entries()) {
      if (n < (byDevice.get(device) ?? 0)) outOfNumber++
      byDevice.set(device, Math.max(n, byDevice.get(device) ?? 0))
    }
    expect(outOfNumber).toBeGreaterThan(10)
    const notJson = run.broker.received.filter(({ payload }) => !isJson(payload))
    expect(notJson.length).toBeGreaterThanOrEqual(stats.malformed)
    expect(stats.malformed).toBeGreaterThan(10)
  })

  test('a seed decides every reading: two runs publish the same bytes in the same order', async () => {
    const options: Partial<FleetOptions> = { devices: 5, ratePerSecond: 250, qosShares: [1, 1, 1] }
    const faults: Partial<FaultRates> = {
      lateShare: 0.1,
      malformedShare: 0.1,
      duplicateShare: 0.1,
      dropsPerMinute: 60,
    }
    const runs = [await startRun(options, faults), await startRun(options, faults)]
    await sleep(1500)
    const [one, other] = runs.map(({ ledger }) => byDeviceAndOrder(ledger.entries()))
    let compared = 0
    for (const [place, entry] of one ?? []) {
      const twin = other?.get(place)
      if (twin === undefined) continue
      expect({ n: twin.n, hash: twin.hash }, `${place}, seed ${SEED}`).toEqual({
        n: entry.n,
        hash: entry.hash,
      })
      compared++
    }
    expect(compared).toBeGreaterThan(200)
  })

  test('a fleet that ends leaves no session behind, and says how many it could not clear', async () => {
    const run = await startRun({ devices: 120, ratePerSecond: 600, qosShares: [0, 1, 1] })
    await expect.poll(() => run.broker.keptSessions.size, { timeout: 20_000 }).toBeGreaterThan(50)
    await finish(run)
    const kept = run.broker.keptSessions.size
    expect(kept).toBeGreaterThan(50)
    expect(await run.fleet.forgetSessions(10_000)).toBe(0)
    expect(run.broker.keptSessions.size).toBe(0)
    await run.broker.kill()
    expect(await run.fleet.forgetSessions(10_000)).toBe(kept)
  })

  test('the mix of QoS holds for small fleets and large ones', () => {
    for (const devices of [10, 200, 2000]) {
      const tolerance = Math.max(0.02, 1.5 / devices)
      const counts: [number, number, number] = [0, 0, 0]
      for (let index = 0; index < devices; index++) counts[qosOf(index, [0.1, 0.5, 0.4])]++
      expect(Math.abs(counts[0] / devices - 0.1)).toBeLessThan(tolerance)
      expect(Math.abs(counts[1] / devices - 0.5)).toBeLessThan(tolerance)
      expect(Math.abs(counts[2] / devices - 0.4)).toBeLessThan(tolerance)
    }
    expect(qosOf(3, [0, 1, 0])).toBe(1)
  })
})

describe('a fleet that speaks MQTT 5', () => {
  test('a mixed fleet that is cut keeps its promises in both versions, and some use aliases and properties', async () => {
    const run = await startRun(
      { devices: 24, ratePerSecond: 600, qosShares: [1, 3, 3], protocol: 'mix' },
      { dropsPerMinute: 40, duplicateShare: 0.05 },
    )
    await sleep(3000)
    const verdict = await finish(run)
    expect(verdict).toMatchObject({ ok: true, lost: 0, duplicated: 0, reordered: 0, refused: 0 })
    const { broker, fleet } = run
    expect(broker.levels[4]).toBeGreaterThan(4)
    expect(broker.levels[5]).toBeGreaterThan(4)
    expect(broker.aliased).toBeGreaterThan(20)
    expect(broker.aliased).toBeGreaterThanOrEqual(fleet.stats.aliased - fleet.stats.drops)
    expect(broker.described).toBeGreaterThan(20)
    expect(fleet.stats.resent).toBeGreaterThan(0)
    expect(fleet.stats.reasons.get(0)).toBeGreaterThan(50)
  })

  test('no device has more unacknowledged than was granted, repeats included, and each says so', async () => {
    const run = await startRun(
      { devices: 8, ratePerSecond: 1500, qosShares: [0, 1, 1], protocol: '5' },
      { dropsPerMinute: 60 },
      { receiveMaximum: 3 },
    )
    await sleep(3000)
    const verdict = await finish(run)
    expect(verdict).toMatchObject({ ok: true, lost: 0, duplicated: 0, reordered: 0 })
    const { stats } = run.fleet
    expect(stats.grants).toEqual({ lowest: 3, highest: 3 })
    expect(stats.grantWaits).toBeGreaterThan(10)
    expect(stats.resent).toBeGreaterThan(0)
  })

  test.each([
    ['QoS 1', [0, 1, 0]],
    ['QoS 2', [0, 0, 1]],
  ] as const)(
    'at %s a refusal is final, is no promise, and is counted by its code',
    async (_, qosShares) => {
      const reason = (payload: Buffer): number => {
        const { n } = JSON.parse(payload.toString()) as { n: number }
        return n % 5 === 0 ? 0x97 : n % 7 === 0 ? 0x10 : 0
      }
      const run = await startRun(
        { devices: 6, ratePerSecond: 300, qosShares, protocol: '5' },
        {},
        { reason },
      )
      await sleep(1200)
      const verdict = await finish(run)
      expect(verdict).toMatchObject({ ok: true, lost: 0, pending: 0, contradicted: 0 })
      expect(verdict.refused).toBeGreaterThan(20)
      expect(verdict.untaken).toBeGreaterThan(10)
      const { reasons } = run.fleet.stats
      expect(reasons.get(0x97)).toBe(verdict.refused)
      expect(reasons.get(0x10)).toBe(verdict.untaken)
      expect(verdict.storedReadings + verdict.refused + verdict.untaken).toBe(
        verdict.published[1] + verdict.published[2],
      )
    },
  )

  test('a session that expired while the device was away: what had no PUBREC goes out as a new message', async () => {
    const run = await startRun({
      devices: 6,
      ratePerSecond: 300,
      qosShares: [0, 0, 1],
      protocol: '5',
      sessionExpirySeconds: 1,
    })
    await sleep(600)
    await untilUnanswered(run)
    await run.broker.kill()
    run.broker.forgetSessions()
    await sleep(1500)
    await run.broker.start()
    await sleep(500)
    const verdict = await finish(run)
    const { stats } = run.fleet
    expect(stats.sessionsExpired).toBeGreaterThan(0)
    expect(stats.sessionsLost).toBe(0)
    expect(stats.sentAnew).toBeGreaterThan(0)
    expect(verdict).toMatchObject({ ok: true, lost: 0, duplicated: 0, reordered: 0 })
  })

  test('a session that is gone before its time was lost by the gateway', async () => {
    const run = await startRun({
      devices: 6,
      ratePerSecond: 300,
      qosShares: [0, 0, 1],
      protocol: '5',
    })
    await sleep(600)
    await run.broker.kill()
    run.broker.forgetSessions()
    await run.broker.start()
    await sleep(500)
    await finish(run)
    expect(run.fleet.stats.sessionsLost).toBeGreaterThan(0)
    expect(run.fleet.stats.sessionsExpired).toBe(0)
  })

  test('the seed decides who speaks which version, whatever the mix', () => {
    const dialects = Array.from({ length: 400 }, (_, n) => dialectOf('mix', seed, `device-${n}`))
    const of5 = dialects.filter(({ protocol }) => protocol === '5')
    expect(of5.length).toBeGreaterThan(150)
    expect(of5.length).toBeLessThan(250)
    expect(of5.filter(({ usesAliases }) => usesAliases).length).toBeGreaterThan(50)
    expect(dialectOf('mix', seed, 'device-7')).toEqual(dialects[7])
    expect(dialectOf('3.1.1', seed, 'device-7')).toEqual({
      protocol: '3.1.1',
      usesAliases: false,
      usesProperties: false,
    })
  })
})

describeWithTool(['mosquitto'], 'a fleet against Mosquitto', () => {
  let server: MosquittoServer | null = null
  afterEach(async () => {
    await server?.stop()
    server = null
  })

  test('a mixed fleet is acknowledged, cut and taken over; nobody subscribes, and devices of 5 hear so', async () => {
    server = await MosquittoServer.start(['max_inflight_messages 5'])
    const ledger = new Ledger(null, seed, new Date())
    const fleet = new Fleet(
      {
        ...FLEET_DEFAULTS,
        url: server.url,
        protocol: 'mix',
        devices: 20,
        ratePerSecond: 400,
        seed,
        rampMs: 100,
        reconnect: { minMs: 20, maxMs: 200 },
        faults: { ...NO_FAULTS, dropsPerMinute: 20 },
      },
      ledger,
    )
    fleet.start()
    await sleep(2000)
    fleet.finish()
    expect(await fleet.acknowledged(20_000)).toBe(true)
    const { stats } = fleet
    await fleet.close()
    expect(await fleet.forgetSessions(10_000)).toBe(0)
    expect(stats.reasons.get(0x10)).toBeGreaterThan(20)
    expect(ledger.refused[1]).toBeGreaterThan(0)
    expect(stats.grants?.highest).toBe(5)
    expect(stats.sessionsLost).toBe(0)
  })
})

function byDeviceAndOrder(entries: Iterable<LedgerEntry>): Map<string, LedgerEntry> {
  return new Map([...entries].map((entry) => [`${entry.device}/${entry.order}`, entry]))
}

function isJson(payload: Buffer): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload))
    return true
  } catch {
    return false
  }
}
