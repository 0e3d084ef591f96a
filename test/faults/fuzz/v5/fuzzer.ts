/**
 * Broken sessions of MQTT 5 in batches, at the same time, beside the bystanders: those whose
 * outcome is known end or live as they must, with the acks and records that are due; every answer
 * is one of the standard's; nothing stays charged to anybody (I1, I2, I6, I9). A batch depends on
 * its seed alone.
 */
import type { Duplex } from 'node:stream'
import { Random } from '../../../../device-sim/random.ts'
import { packet } from '../../../support/raw-mqtt.ts'
import { type FuzzedGate, type Transport } from '../fuzzed-gate.ts'
import { leftovers } from '../fuzzer.ts'
import { SPLITS, segments } from '../mutations.ts'
import { pick } from '../sessions.ts'
import { AnswerTaker } from './answer-taker.ts'
import { makeSession, type Session } from './grammar.ts'
import { type Broken, MUTATIONS, type Mutation, mutate } from './mutations.ts'

export interface Fuzz5Totals {
  connections: number
  packets: number
  bystanderMessages: number
  readonly mutations: Record<Mutation, number>
  /** By what was seen last: `CONNACK 0x81`, `DISCONNECT 0x82`, `closed`, `lives`. */
  readonly endings: Map<string, number>
  readonly failures: string[]
}

export interface Plan extends Broken {
  readonly session: Session
  readonly mutation: Mutation
}

const CLIENTS = 40
const MAX_PACKETS = 40
const BYSTANDER_MESSAGES = 20
const PINGREQ = Buffer.of(0xc0, 0)

export function newTotals5(): Fuzz5Totals {
  const zeros = MUTATIONS.map((name) => [name, 0] as const)
  return {
    connections: 0,
    packets: 0,
    bystanderMessages: 0,
    mutations: Object.fromEntries(zeros) as Record<Mutation, number>,
    endings: new Map(),
    failures: [],
  }
}

export function planOf(random: Random): Plan {
  const session = makeSession(random, MAX_PACKETS)
  const mutation = pick(random, MUTATIONS)
  return { session, mutation, ...mutate(random, session, mutation) }
}

/** Runs one batch; what is wrong goes into `totals.failures`. */
export async function runBatch5(
  gate: FuzzedGate,
  seed: string,
  transport: Transport,
  totals: Fuzz5Totals,
): Promise<void> {
  const random = new Random(seed, 'fuzz of version 5')
  const fail = (what: string): void => {
    totals.failures.push(`batch ${seed}: ${what}`)
  }
  gate.turnClock(1)
  const plans = Array.from({ length: CLIENTS }, () => {
    const plan = planOf(random)
    const parts = segments(random, plan.bytes, pick(random, SPLITS))
    return { ...plan, parts }
  })
  await Promise.all([
    ...plans.map(async (plan) => {
      const bytes = Buffer.concat(plan.bytes).toString('hex').slice(0, 4_000)
      await runOne(gate, transport, plan, totals).catch((error: unknown) =>
        fail(`${String(error)} (${plan.mutation}, ${plan.verdict}: ${bytes})`),
      )
    }),
    gate.bystander.publish(BYSTANDER_MESSAGES).catch((error: unknown) => fail(String(error))),
  ])
  await turnsUntil(
    () =>
      gate.broker.connections() === 2 &&
      gate.watcher.seen >= gate.bystander.published &&
      gate.broker.stats.subscriberBytes === 0 &&
      gate.broker.stats.unackedMessages === 0 &&
      gate.broker.stats.sessions === 0,
  )
  for (const { session, mutation } of plans) {
    if (mutation !== 'none') continue
    const device = gate.appender.records.filter((one) => one.device === session.clientId)
    if (device.filter(({ will }) => !will).length !== session.records)
      fail(`${session.clientId} has ${device.length} records, not ${session.records}`)
  }
  for (const one of leftovers(gate)) fail(one)
  for (const one of gate.takeFaults()) fail(`an error inside the broker: ${one}`)
  totals.bystanderMessages += BYSTANDER_MESSAGES
  gate.appender.records.length = 0
  gate.appender.checkpoint()
}

async function runOne(
  gate: FuzzedGate,
  transport: Transport,
  { session, mutation, verdict, parts, bytes }: Plan & { readonly parts: readonly Buffer[] },
  totals: Fuzz5Totals,
): Promise<void> {
  totals.connections += 1
  totals.packets += bytes.length
  totals.mutations[mutation] += 1
  const { end, farEndGone } = await gate.connect(transport)
  const taker = new AnswerTaker(end)
  try {
    for (const part of parts) {
      if (taker.isClosed || end.destroyed) break
      end.write(part)
    }
    if (verdict === 'lives') await lives(end, taker, session)
    else if (verdict === 'ends') await taker.until('its end', () => taker.isClosed)
    else await turns(6)
    if (taker.fault !== null) throw taker.fault
    if (mutation === 'none') compare(taker.acks, session.acks, verdict === 'lives')
  } finally {
    end.destroy()
  }
  await farEndGone
  await endSession(gate, transport, session.clientId)
  const name = taker.isClosed && verdict !== 'lives' ? (taker.ending ?? 'closed') : 'lives'
  totals.endings.set(name, (totals.endings.get(name) ?? 0) + 1)
}

/** As the protocol has it, so that the number of sessions stays what it was. */
async function endSession(gate: FuzzedGate, transport: Transport, clientId: string): Promise<void> {
  const { end, farEndGone } = await gate.connect(transport)
  const taker = new AnswerTaker(end)
  end.write(packet.connect({ level: 5, clientId }))
  end.write(packet.disconnect())
  await taker.until('the end of a session', () => taker.isClosed)
  end.destroy()
  await farEndGone
}

async function lives(end: Duplex, taker: AnswerTaker, session: Session): Promise<void> {
  end.write(PINGREQ)
  await taker.until(
    'its answers',
    () => taker.acks.length >= session.acks.length && taker.answers >= session.answers,
    () => `${taker.acks.length} of ${session.acks.length}, ${taker.answers} of ${session.answers}`,
  )
  if (taker.isClosed) throw new Error(`${taker.ending ?? 'closed'} where it should live`)
}

/** Of a connection that its client has left the last acks may be missing. */
function compare(got: readonly string[], due: readonly string[], isWhole: boolean): void {
  const wanted = isWhole ? due : due.slice(0, got.length)
  if (got.join() !== wanted.join()) throw new Error(`acks ${got.join()}, not ${wanted.join()}`)
}

async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1) {
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
  }
}

/** What does not come is found by the comparison behind it. */
async function turnsUntil(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 10_000
  while (!condition() && performance.now() < endMs) {
    await new Promise((resolve) => {
      setTimeout(resolve, 1)
    })
  }
}
