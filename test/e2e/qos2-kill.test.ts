/**
 * I3 from outside: a real gateway process ended by SIGKILL between the packets of QoS 2, started
 * again on the same folder and ports, and a device that resumes as MQTT 3.1.1 section 4.4 says.
 * What the sink has stored decides: every reading once, in its order.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Random } from '../../device-sim/random.ts'
import { assertBalanced, GatewayProcess } from '../support/gateway-process.ts'
import { dealSpeeches } from '../support/levels.ts'
import { OneNumberSink } from '../support/one-number-sink.ts'
import { reapProcesses } from '../support/process.ts'
import { Qos2Device } from '../support/qos2-device.ts'
import { packet, RawMqtt, TYPE } from '../support/raw-mqtt.ts'
import { SEED } from '../support/seed.ts'

let folder: string
let sink: OneNumberSink
let gateway: GatewayProcess

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-qos2-'))
  sink = await OneNumberSink.start()
  gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url })
})

afterEach(async () => {
  await reapProcesses()
  await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1)
}

/** Everything is complete, at the sink once and in order, and nothing is left in the gateway. */
async function expectExactlyOnce(devices: readonly Qos2Device[]): Promise<void> {
  const total = devices.reduce((sum, { published }) => sum + published, 0)
  await sink.until(total)
  const status = await gateway.untilStatus('nothing is pending', ({ streams }) => {
    return streams.every(({ counters }) => counters.pending === 0)
  })
  for (const { clientId, published } of devices) expect(sink.of(clientId)).toEqual(upTo(published))
  expect(sink.count).toBe(total)
  assertBalanced(status)
  // Counted once each, however often they came (I5).
  expect(status.streams[0]?.counters).toMatchObject({ received: total, delivered: total })
}

describe('I3: a reading at QoS 2 is stored exactly once when the gateway is killed', () => {
  it('I3: before it has read the PUBLISH, and then with a PUBREC that did not arrive', async () => {
    const device = new Qos2Device('press-1')
    await device.connect(gateway.mqttPort)
    gateway.freeze()
    device.publish(1)
    await gateway.kill()
    device.cut()
    expect(sink.count, 'the frozen gateway took nothing').toBe(0)

    await gateway.start()
    await device.connect(gateway.mqttPort)
    expect(device.resentPublishes).toBe(1)
    // It is durable when its PUBREC is on the wire; this one gets lost.
    await device.lose(TYPE.PUBREC)
    await gateway.kill()
    device.cut()

    await gateway.start()
    await device.connect(gateway.mqttPort)
    expect(device.resentPublishes).toBe(2)
    await device.finish()
    await expectExactlyOnce([device])
    expect(
      (await gateway.status()).broker?.duplicates,
      'the repeat was known by its packet id',
    ).toBe(1)
  })

  it('I3: between PUBREC and PUBREL, with a PUBREL it has not read, and with a PUBCOMP that did not arrive', async () => {
    const device = new Qos2Device('press-1')
    await device.connect(gateway.mqttPort)
    device.publish(1)
    await device.step({ release: false })
    await gateway.kill()
    device.cut()

    await gateway.start()
    gateway.freeze()
    const connecting = device.connect(gateway.mqttPort)
    gateway.thaw()
    await connecting
    expect(device.resentReleases).toBe(1)
    await device.lose(TYPE.PUBCOMP)
    await gateway.kill()
    device.cut()

    await gateway.start()
    await device.connect(gateway.mqttPort)
    expect(device.resentReleases, 'the id is unknown by now, and gets its PUBCOMP').toBe(2)
    await device.finish()

    // A PUBREL that the gateway never saw.
    device.publish(1)
    await device.step({ release: false })
    gateway.freeze()
    device.client.send(packet.pubrel(device.inFlight[0]?.id ?? 0))
    await gateway.kill()
    device.cut()
    await gateway.start()
    await device.connect(gateway.mqttPort)
    await device.finish()
    await expectExactlyOnce([device])
  })

  it('I3: after the PUBCOMP, when the packet id and even the bytes are used again for the next reading', async () => {
    const client = await RawMqtt.connect(gateway.mqttPort, { clientId: 'press-1', clean: false })
    const publish = packet.publish('plant/press-1/reading', '{"n":7}', { qos: 2, id: 5 })
    client.send(publish)
    await client.next(TYPE.PUBREC)
    client.send(packet.pubrel(5))
    await client.next(TYPE.PUBCOMP)
    await gateway.killAndRestart()
    const again = await RawMqtt.connect(gateway.mqttPort, { clientId: 'press-1', clean: false })
    expect(again.sessionPresent).toBe(true)
    again.send(publish)
    await again.next(TYPE.PUBREC)
    again.send(packet.pubrel(5))
    await again.next(TYPE.PUBCOMP)
    await sink.until(2)
    // PUBCOMP promised that the id is forgotten: taking the second for a repeat would lose a
    // reading.
    expect(sink.of('press-1')).toEqual([7, 7])
  })

  it('I3: with several packet ids in flight, one at every point of the way', async () => {
    const device = new Qos2Device('press-1')
    await device.connect(gateway.mqttPort)
    device.publish(6)
    await device.step()
    await device.step()
    await device.step({ release: false })
    // Acks may come between: 1 and 2 were released, 3 only received, 4 to 6 durable and not heard
    // of.
    while (device.client.inbox.length < 3) await sleep(1)
    gateway.freeze()
    device.publish(3)
    await gateway.kill()
    device.cut()
    expect(device.inFlight.map(({ received }) => received)).toEqual(
      [1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => n <= 3),
    )

    await gateway.start()
    await device.connect(gateway.mqttPort)
    expect([device.resentReleases, device.resentPublishes]).toEqual([3, 6])
    await device.finish()
    await expectExactlyOnce([device])
    expect((await gateway.status()).broker?.duplicates, '4 to 6').toBe(3)
  })

  it('I3: around a takeover, with the old connection still sending', async () => {
    const device = new Qos2Device('press-1')
    await device.connect(gateway.mqttPort)
    device.publish(5)
    await device.step()
    await device.step({ release: false })
    const old = device.client
    await device.connect(gateway.mqttPort)
    // What the old connection says after the takeover must not count.
    old.send(packet.publish(device.topic, '{"n":99}', { qos: 2, id: 20 }))
    await old.closed()
    device.publish(3)
    await device.step()
    await gateway.kill()
    device.cut()

    await gateway.start()
    // A second connection right behind the first, which has just sent its repeats.
    await device.connect(gateway.mqttPort)
    await device.connect(gateway.mqttPort)
    await device.finish()
    device.publish(4)
    await device.finish()
    await expectExactlyOnce([device])
  })
})

const KILLS = 8
/** A busy machine gets less done between two kills: more of them, until every path was taken. */
const MOST_KILLS = 80

it(`I2, I3: at random moments under way, with random losses, cuts and takeovers (SLUICE_SEED=${SEED})`, async () => {
  const random = new Random(SEED)
  const names = ['press-1', 'press-2', 'press-3'].map((id) => ({ id }))
  const devices = dealSpeeches(SEED, names).map(({ id, level }) => new Qos2Device(id, level))
  const totals = { lost: 0, takeovers: 0, cuts: 0 }

  /** Until the gateway dies under it. */
  const live = async (device: Qos2Device, isOver: () => boolean): Promise<void> => {
    try {
      await device.connect(gateway.mqttPort)
      while (!isOver()) {
        const dice = random.below(100)
        if (dice < 45 || device.isDone) {
          if (device.hasRoom) device.publish(1)
          await sleep(random.below(3))
        } else if (dice < 90) {
          if (device.client.inbox.length === 0) device.release()
          await device.step({ release: random.chance(0.9) })
        } else if (dice < 94 && device.client.inbox.length > 0) {
          device.client.inbox.shift()
          totals.lost++
          // TCP loses nothing in the middle of a connection.
          device.cut()
          await device.connect(gateway.mqttPort)
        } else if (dice < 97) {
          totals.takeovers++
          await device.connect(gateway.mqttPort)
        } else {
          totals.cuts++
          device.cut()
          await device.connect(gateway.mqttPort)
        }
      }
    } catch (error) {
      if (gateway.isRunning && !isOver()) throw error
    }
  }

  const sum = (of: (device: Qos2Device) => number): number =>
    devices.reduce((n, one) => n + of(one), 0)
  const isMet = (): boolean =>
    sum((d) => d.resentPublishes) > 0 &&
    sum((d) => d.resentReleases) > 0 &&
    sum((d) => d.completed) > 20 &&
    totals.takeovers + totals.cuts > 0

  for (let round = 0; round < KILLS || !isMet(); round++) {
    expect(round, 'the paths under test are taken').toBeLessThan(MOST_KILLS)
    let over = false
    const lives = devices.map((device) => live(device, () => over))
    await sleep(40 + random.below(160))
    over = true
    if (random.chance(0.3)) gateway.freeze()
    await gateway.kill()
    for (const device of devices) device.cut()
    await Promise.all(lives)
    for (const device of devices) device.cut()
    await gateway.start()
  }
  for (const device of devices) {
    await device.connect(gateway.mqttPort)
    await device.finish()
  }
  await expectExactlyOnce(devices)
}, 120_000)
