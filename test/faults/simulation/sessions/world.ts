/**
 * Days of clients that come and go under a virtual clock: in both versions of MQTT and from one to
 * the other, with sessions that live for seconds or hours or go on, with clean starts against stored
 * ones, takeovers, floods beyond Receive Maximum, and kills of the gateway at any commit. The real
 * broker plays; beside it stands what the standard promises (model.ts).
 */
import type { Random } from '../../../../device-sim/random.ts'
import { levelsInTurn } from '../../../support/levels.ts'
import { REASON, reasonText } from '../../../support/mqtt-answers.ts'
import { packet } from '../../../support/raw-mqtt.ts'
import { DAY_MS, Faults, type Simulated } from '../result.ts'
import { SimulatedDevice } from './device.ts'
import { LIMITS, type Link, SimulatedGate } from './gate.ts'
import { NO_EXPIRY_SECONDS, SessionModel, type Wish } from './model.ts'

const DEVICES = 6
const STEPS_PER_DAY = 400
const EXPIRIES = [0, 30, 600, 3_000, 7_200, NO_EXPIRY_SECONDS]
/** Unfinished messages that a connection leaves: no grant is smaller. */
const MAX_LEFT = 6
const LEAST_GRANT = 10
const GRANTED_SHARE = 0.1
/** What a CONNACK does not say goes on behind it: a packet id that nobody uses. */
const PROBE_ID = 999

/** The kill comes while the disk stands still, at any commit, or when answers came that are lost. */
const WHEN = ['held', 'at once', 'answered'] as const

interface Client {
  readonly device: SimulatedDevice
  readonly model: SessionModel
  wish: Wish | null
}

export async function simulateSessions(random: Random, days: number): Promise<Simulated> {
  const world = new World(random, await SimulatedGate.start())
  try {
    for (let left = days * STEPS_PER_DAY; left > 0 && world.isWell; left -= 1) await world.step()
    await world.end()
  } catch (error) {
    world.faults.expect(false, () => (error as Error).message)
  } finally {
    await world.gate.stop()
  }
  return { days, decisions: world.decisions, faults: world.faults.list }
}

class World {
  readonly gate: SimulatedGate
  readonly faults = new Faults()
  decisions = 0
  readonly #random: Random
  readonly #nextLevel: ReturnType<typeof levelsInTurn>
  readonly #clients: readonly Client[]
  readonly #acked = new Set<string>()

  constructor(random: Random, gate: SimulatedGate) {
    this.#random = random
    this.gate = gate
    this.#nextLevel = levelsInTurn(random.uint32())
    this.#clients = Array.from({ length: DEVICES }, (_, i) => ({
      device: new SimulatedDevice(`device-${i}`),
      model: new SessionModel(LIMITS.sessionExpiry),
      wish: null,
    }))
  }

  get isWell(): boolean {
    return this.faults.list.length === 0
  }

  async step(): Promise<void> {
    const random = this.#random
    this.decisions += 1
    this.#pass(random.exponential(STEPS_PER_DAY / DAY_MS))
    const client = this.#clients[random.below(DEVICES)]!
    if (random.chance(0.02)) await this.#kill()
    else if (random.chance(0.05)) this.gate.checkpoint()
    else if (client.device.link === null || random.chance(0.15)) await this.#connect(client)
    else {
      const deed = random.below(10)
      if (deed < 4) await this.#publish(client)
      else if (deed < 6) await this.#fillGrant(client)
      else if (deed < 8) await this.#cut(client)
      else if (deed < 9) await this.#disconnect(client)
      else await this.#killInFlight(client)
    }
    this.faults.expect(this.gate.faults.length === 0, () => this.gate.faults.join('; '))
    this.#expectGrants()
  }

  /** Each device comes once more and completes; then the books are compared. */
  async end(): Promise<void> {
    for (const client of this.#clients) {
      if (!this.isWell) return
      if (client.device.link === null) await this.#connect(client)
      const { device } = client
      const ids = device.received
      device.release(ids)
      await device.completions(ids, (id) => client.model.openIds.has(id))
    }
    this.#expectBooks()
  }

  #pass(ms: number): void {
    const whole = Math.round(ms)
    this.gate.nowMs += whole
    for (const { model } of this.#clients) model.pass(whole)
  }

  // Connections.

  async #connect(client: Client): Promise<void> {
    const { device, model } = client
    const random = this.#random
    const wish: Wish = {
      level: this.#nextLevel(),
      clean: random.chance(0.2),
      expirySeconds: EXPIRIES[random.below(EXPIRIES.length)]!,
    }
    const former = device.link
    const link = this.gate.link(wish.level)
    const properties = { sessionExpiryInterval: wish.expirySeconds }
    const { sessionPresent, granted } = await link.client.begin({
      clientId: device.name,
      clean: wish.clean,
      level: wish.level,
      ...(wish.level === 5 ? { properties } : {}),
    })
    if (former !== null) await this.#expectTakenOver(client, former)
    const expected = model.expect(wish)
    const seen = sessionPresent ? 'present' : 'absent'
    this.faults.expect(
      expected === 'either' || seen === expected,
      () => `${device.name}: its session is ${seen}, not ${expected}, for ${JSON.stringify(wish)}`,
    )
    const hadIds = [...model.openIds]
    model.connect(wish, sessionPresent)
    client.wish = wish
    device.begin(link, granted.receiveMaximum ?? null)
    if (wish.level === 5) {
      const told = model.toldSeconds(wish)
      this.faults.expect(
        granted.sessionExpiryInterval === told,
        () => `${device.name}: an expiry of ${granted.sessionExpiryInterval} is told, not ${told}`,
      )
      this.#expectGrant(device)
    }
    if (!this.isWell) return
    if (sessionPresent) await this.#resume(client)
    else await this.#beginAnew(client, expected === 'absent' ? hadIds : [])
  }

  async #expectTakenOver({ device, model }: Client, former: Link): Promise<void> {
    const said = await SimulatedDevice.farewell(former.client)
    const due = former.client.level === 5 ? reasonText(REASON.SESSION_TAKEN_OVER) : null
    this.faults.expect(said === due, () => `${device.name}: taken over with ${said}, not ${due}`)
    device.part()
    model.leave()
  }

  async #resume({ device, model }: Client): Promise<void> {
    const released = device.received
    device.resend()
    await this.#takeFirstAcks(device, model)
    await device.completions(released, (id) => model.openIds.has(id))
    for (const id of released) model.openIds.delete(id)
  }

  /** `hadIds`: the gateway must not know them any more. */
  async #beginAnew({ device }: Client, hadIds: readonly number[]): Promise<void> {
    device.inFlight.clear()
    if (device.client.level === 4) return
    for (const id of [...hadIds, PROBE_ID]) {
      const code = await device.releaseUnknown(id)
      this.faults.expect(
        code === REASON.PACKET_ID_NOT_FOUND,
        () => `${device.name}: packet id ${id} is known without its session`,
      )
    }
  }

  async #cut(client: Client): Promise<void> {
    const { device } = client
    const { link } = device
    if (link === null) return
    link.client.cut()
    await link.gone
    this.#left(client)
  }

  async #disconnect(client: Client): Promise<void> {
    const { device, model, wish } = client
    const { link } = device
    if (link === null || wish === null) return
    const mayChange = wish.level === 5 && wish.expirySeconds > 0 && this.#random.chance(0.5)
    const seconds = EXPIRIES[this.#random.below(EXPIRIES.length)]!
    const properties = { sessionExpiryInterval: seconds }
    link.client.send(packet.disconnect(mayChange ? { code: 0, properties } : undefined))
    await link.client.closed()
    await link.gone
    if (mayChange) model.setExpiry(seconds)
    this.#left(client)
  }

  #left({ device, model }: Client): void {
    device.part()
    model.leave()
  }

  // Messages.

  async #publish(client: Client): Promise<void> {
    const { device, model } = client
    const room = MAX_LEFT - device.inFlight.size
    if (room > 0) device.publish(1 + this.#random.below(room), this.#random)
    await this.#takeFirstAcks(device, model)
    const ids = device.received.filter(() => this.#random.chance(0.6))
    device.release(ids)
    await device.completions(ids, (id) => model.openIds.has(id))
    for (const id of ids) model.openIds.delete(id)
  }

  async #takeFirstAcks(device: SimulatedDevice, model: SessionModel): Promise<void> {
    const acked = await device.firstAcks()
    if (acked.length === 0) return
    const there = new Set(this.gate.payloads)
    for (const { id, n, qos } of acked) {
      const payload = device.payloadOf(n)
      this.#acked.add(payload)
      this.faults.expect(there.has(payload), () => `I1: ${payload} is acknowledged, and not stored`)
      if (qos === 2) model.openIds.add(id)
    }
    for (const one of this.#clients) one.model.stored()
  }

  /** The disk stands still: no ack comes (I1), the grant is for the taking, and nothing beyond it. */
  async #fillGrant(client: Client): Promise<void> {
    const { device, model } = client
    const mostHeld = LIMITS.maxUnackedMessages - device.inFlight.size
    this.gate.hold()
    device.publish(Math.min(device.quota, mostHeld), this.#random)
    await device.client.roundTrip()
    this.faults.expect(
      device.client.inbox.length === 0,
      () => `I1: ${device.name}: an answer came before its commit`,
    )
    if (device.receiveMaximum !== null && this.#random.chance(0.3)) {
      device.publish(device.tooMany, this.#random)
      const said = await SimulatedDevice.farewell(device.client)
      const due = reasonText(REASON.RECEIVE_MAXIMUM_EXCEEDED)
      this.faults.expect(
        said === due,
        () => `${device.name}: beyond its grant: ${said}, not ${due}`,
      )
      await device.link?.gone
      this.#left(client)
      this.gate.release()
      // What it sent too much was not taken; what it holds does not fit into another grant.
      await this.#forget(client)
      return
    }
    this.gate.release()
    await this.#takeFirstAcks(device, model)
    const ids = device.received
    device.release(ids)
    await device.completions(ids, (id) => model.openIds.has(id))
    for (const id of ids) model.openIds.delete(id)
  }

  /** It gives up what was in flight, and begins anew. */
  async #forget(client: Client): Promise<void> {
    const wish: Wish = { level: 5, clean: true, expirySeconds: 0 }
    client.device.inFlight.clear()
    const { device, model } = client
    const link = this.gate.link(5)
    const { sessionPresent, granted } = await link.client.begin({
      clientId: device.name,
      clean: true,
      level: 5,
    })
    this.faults.expect(!sessionPresent, () => `${device.name}: a clean start finds a session`)
    model.connect(wish, false)
    client.wish = wish
    device.begin(link, granted.receiveMaximum ?? null)
    this.#expectGrant(device)
  }

  // Kills.

  async #kill(): Promise<void> {
    await this.gate.kill(Math.round(this.#random.exponential(1 / 600_000)))
    for (const { device, model } of this.#clients) {
      model.restart()
      device.part()
    }
    this.gate.isTight = this.#random.chance(0.2)
  }

  /** With messages and PUBRELs under way, whose answers nobody sees. */
  async #killInFlight({ device }: Client): Promise<void> {
    const when = WHEN[this.#random.below(WHEN.length)]
    if (when === 'held') this.gate.hold()
    const ids = device.received.filter(() => this.#random.chance(0.5))
    device.mayBeReleased(ids)
    device.release(ids)
    const room = MAX_LEFT - device.inFlight.size
    if (room > 0) device.publish(room, this.#random)
    const answers = ids.length + Math.max(0, room)
    if (when !== 'answered') await device.client.roundTrip()
    else await device.client.until(() => device.client.inbox.length >= answers)
    await this.#kill()
  }

  // What must be.

  #expectGrant(device: SimulatedDevice): void {
    const granted = device.receiveMaximum
    const others = this.#grantedTo(this.#clients.filter((one) => one.device !== device))
    const { maxUnackedMessages, maxUnackedMessagesTotal } = LIMITS
    const share = Math.floor((maxUnackedMessagesTotal - others) * GRANTED_SHARE)
    const most = this.gate.isTight ? 0 : Math.min(share, maxUnackedMessages)
    const due = Math.max(LEAST_GRANT, most)
    this.faults.expect(granted === due, () => `${device.name}: is granted ${granted}, not ${due}`)
  }

  /** I6: the sum of all grants is what the gateway says it is. */
  #expectGrants(): void {
    const total = this.#grantedTo(this.#clients)
    this.faults.expect(
      this.gate.grantedTotal === total,
      () => `I6: ${this.gate.grantedTotal} are granted in all, not ${total}`,
    )
  }

  #grantedTo(clients: readonly Client[]): number {
    return clients.reduce((sum, { device }) => sum + (device.receiveMaximum ?? 0), 0)
  }

  /** I1, I2 and I3 over everything that was stored. */
  #expectBooks(): void {
    const { payloads } = this.gate
    const there = new Set(payloads)
    const lost = [...this.#acked].filter((payload) => !there.has(payload))
    this.faults.expect(lost.length === 0, () => `I1: acknowledged and gone: ${lost.join(', ')}`)
    for (const { device } of this.#clients) {
      const own = payloads.filter((payload) => payload.startsWith(`${device.name} `))
      const first = [...new Set(own)].map((payload) => Number(payload.split(' ')[1]))
      const wrong = first.filter((n, i) => n < (first[i - 1] ?? 0))
      this.faults.expect(
        wrong.length === 0,
        () => `I2: ${device.name}: out of order: ${wrong.join()}`,
      )
      const twice = device.onceOnly.filter(
        (n) => own.filter((one) => one === device.payloadOf(n)).length > 1,
      )
      this.faults.expect(
        twice.length === 0,
        () => `I3: ${device.name}: stored twice: ${twice.join()}`,
      )
    }
  }
}
