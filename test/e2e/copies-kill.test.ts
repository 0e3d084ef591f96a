/**
 * Copies for a persistent subscriber from outside: a real gateway process ended by SIGKILL and
 * started again on the same folder and ports. What was published and acknowledged reaches the
 * subscriber, at QoS 2 once, whatever moment it was.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Random } from '../../device-sim/random.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { OneNumberSink } from '../support/one-number-sink.ts'
import { reapProcesses } from '../support/process.ts'
import { Qos2Device } from '../support/qos2-device.ts'
import { packet, RawMqtt, readPublish, TYPE } from '../support/raw-mqtt.ts'
import { SEED } from '../support/seed.ts'

let folder: string
let sink: OneNumberSink
let gateway: GatewayProcess

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-copies-'))
  sink = await OneNumberSink.start()
  const sections = { mqtt: { maxSubscriberMessages: 50_000, maxSubscriberBytes: '16MiB' } }
  gateway = await GatewayProcess.start({ folder, sinkUrl: sink.url, sections })
})

afterEach(async () => {
  await reapProcesses()
  await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

/**
 * A receiver at QoS 2 as MQTT 3.1.1 section 4.3.3 has it: it remembers packet ids until their
 * PUBREL.
 */
class Subscriber {
  readonly got: number[] = []
  readonly repeats = { publishes: 0, releases: 0 }
  isResumed = false
  readonly #known = new Set<number>()
  #client: RawMqtt | null = null

  get client(): RawMqtt {
    if (this.#client === null) throw new Error('the subscriber is not connected')
    return this.#client
  }

  async connect(): Promise<void> {
    const client = await RawMqtt.connect(gateway.mqttPort, { clientId: 'hmi', clean: false })
    this.isResumed = client.sessionPresent
    this.#client = client
  }

  async subscribe(): Promise<void> {
    await this.connect()
    this.client.send(packet.subscribe(1, [['plant/#', 2]]))
    await this.client.next(TYPE.SUBACK)
  }

  cut(): void {
    this.#client?.cut()
    this.#client = null
  }

  /** Takes the next frame. `answers`: and says so. */
  async step(answers = true): Promise<void> {
    const frame = await this.client.next()
    if (frame.type === TYPE.PUBREL) {
      const id = frame.body.readUInt16BE(0)
      if (!this.#known.delete(id)) this.repeats.releases += 1
      if (answers) this.client.send(packet.ack(TYPE.PUBCOMP, id))
      return
    }
    const { payload, qos, id } = readPublish(frame)
    if (qos !== 2 || !this.#known.has(id)) this.got.push((JSON.parse(payload) as { n: number }).n)
    else this.repeats.publishes += 1
    if (qos === 2) this.#known.add(id)
    if (answers) this.client.send(packet.ack(qos === 2 ? TYPE.PUBREC : TYPE.PUBACK, id))
  }
}

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1)
}

const AWAY = 300

it('what was acknowledged while the subscriber was away comes after SIGKILL, in order and once', async () => {
  const hmi = new Subscriber()
  await hmi.subscribe()
  await hmi.client.end()
  const device = await RawMqtt.connect(gateway.mqttPort, { clientId: 'press-1' })
  for (const n of upTo(AWAY)) {
    const qos = n % 2 === 0 ? 2 : 1
    device.send(packet.publish('plant/press-1/reading', JSON.stringify({ n }), { qos, id: n }))
  }
  await device.take(AWAY)
  await gateway.kill()
  device.cut()
  await gateway.start()
  await hmi.connect()
  expect(hmi.isResumed).toBe(true)
  while (hmi.got.length < AWAY) await hmi.step()
  await hmi.client.roundTrip()
  expect(hmi.got).toEqual(upTo(AWAY))
})

const KILLS = 6
/** A busy machine gets less done between two kills: more of them, until every path was taken. */
const MOST_KILLS = 60

it(`QoS 2: each message once and in order, with kills and cuts at random moments (SLUICE_SEED=${SEED})`, async () => {
  const random = new Random(SEED)
  const device = new Qos2Device('press-1')
  const hmi = new Subscriber()
  await hmi.subscribe()
  hmi.cut()

  const publish = async (isOver: () => boolean): Promise<void> => {
    await device.connect(gateway.mqttPort)
    while (!isOver()) {
      if (device.hasRoom) device.publish(1)
      if (device.client.inbox.length > 0 || !device.hasRoom) await device.step()
      else await sleep(random.below(2))
    }
  }
  const receive = async (isOver: () => boolean): Promise<void> => {
    await hmi.connect()
    expect(hmi.isResumed).toBe(true)
    while (!isOver()) {
      const dice = random.below(100)
      if (hmi.client.inbox.length === 0) await sleep(1)
      else if (dice < 95) await hmi.step()
      else {
        // What it has answered may be lost, or what came last not be answered.
        if (dice < 98) await hmi.step(false)
        hmi.cut()
        await sleep(random.below(10))
        await hmi.connect()
      }
    }
  }
  const live = async (
    life: (isOver: () => boolean) => Promise<void>,
    isOver: () => boolean,
  ): Promise<void> => {
    try {
      await life(isOver)
    } catch (error) {
      if (gateway.isRunning && !isOver()) throw error
    }
  }

  const isMet = (): boolean =>
    hmi.repeats.publishes > 0 && hmi.repeats.releases > 0 && hmi.got.length > 50
  for (let round = 0; round < KILLS || !isMet(); round++) {
    expect(round, 'the paths under test are taken').toBeLessThan(MOST_KILLS)
    let over = false
    const lives = [publish, receive].map((life) => live(life, () => over))
    await sleep(40 + random.below(200))
    over = true
    await gateway.kill()
    device.cut()
    hmi.cut()
    await Promise.all(lives)
    device.cut()
    hmi.cut()
    await gateway.start()
  }
  await device.connect(gateway.mqttPort)
  await device.finish()
  await hmi.connect()
  while (hmi.got.length < device.published) await hmi.step()
  await hmi.client.roundTrip()
  expect(hmi.got).toEqual(upTo(device.published))
}, 120_000)
