/** Plays a case against a server on a port of this machine. */
import assert from 'node:assert/strict'
import { type Level, TYPE } from '../support/mqtt-answers.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'
import { type Answer, readAnswer } from './answers.ts'
import { type Case, type Expected, kitOf, type Step } from './script.ts'

export interface Target {
  readonly port: number
  /**
   * Codes with which a connection ends are compared, too. The standard leaves them to the server,
   * and whether it sends any.
   */
  readonly endsAsWritten: boolean
}

/** Packet id of a message that no case sends. */
const QUIET_ID = 65_000

/** `number`: of the case, no two on one server have the same. */
export async function play(
  { steps }: Case,
  level: Level,
  number: number,
  target: Target,
): Promise<void> {
  const id = `c${level}x${number}`
  const clients = new Map<string, Player>()
  try {
    for (const step of steps(kitOf(level, id))) {
      const { client } = step
      if (step.kind === 'open') {
        clients.get(client)?.cut()
        clients.set(client, new Player(await RawMqtt.open(target.port, level), level, client))
        continue
      }
      const player = clients.get(client)
      assert(player !== undefined, `${client} has no connection`)
      if (step.kind === 'one of') await oneGets(step, clients)
      else await player.take(step, target)
    }
  } finally {
    for (const client of clients.values()) client.cut()
  }
}

async function oneGets(
  { client, others, text }: Extract<Step, { readonly kind: 'one of' }>,
  clients: ReadonlyMap<string, Player>,
): Promise<void> {
  const members = [client, ...others].map((name) => clients.get(name))
  const got = await Promise.all(members.map(async (member) => await member?.sinceThen()))
  assert.deepEqual(got.flat(), [text])
}

class Player {
  readonly #mqtt: RawMqtt
  readonly #level: Level
  readonly #name: string
  /** Packet ids of copies by payload. */
  readonly #copies = new Map<string, number>()
  /** Those on their way [MQTT-2.2.1-4], in 3.1.1 [MQTT-2.3.1-4]. */
  readonly #used = new Set<number>()

  constructor(mqtt: RawMqtt, level: Level, name: string) {
    this.#mqtt = mqtt
    this.#level = level
    this.#name = name
  }

  async take(step: Exclude<Step, { readonly kind: 'one of' }>, target: Target): Promise<void> {
    switch (step.kind) {
      case 'send':
        this.#mqtt.send(step.bytes)
        return
      case 'get':
        for (const expected of step.frames)
          compare(await this.#next(expected.text), expected, target)
        return
      case 'answer': {
        const id = this.#copies.get(step.payload)
        assert(id !== undefined, `no copy of ${step.payload} to answer`)
        const { first, code } = step
        if (first !== TYPE.PUBREC || (code ?? 0) >= 0x80) this.#used.delete(id)
        this.#mqtt.send(packet.ack(first, id, code === null ? undefined : { code }))
        return
      }
      case 'quiet':
        assert.deepEqual(await this.sinceThen(), [])
        return
      case 'alive':
        await this.#ping(target)
        return
      case 'end':
        await this.#end(step, target)
        return
      default:
        this.cut()
    }
  }

  cut(): void {
    this.#mqtt.cut()
  }

  /** All that came, or was on its way: behind its PUBACK whatever was published before is there. */
  async sinceThen(): Promise<string[]> {
    const own = this.#level === 5 ? { properties: {} } : {}
    this.#mqtt.send(packet.publish('t/quiet', '', { qos: 1, id: QUIET_ID, ...own }))
    const got: string[] = []
    const until = async (wanted: string): Promise<void> => {
      for (;;) {
        const { text } = await this.#next(wanted)
        if (text.startsWith(wanted)) return
        got.push(text)
      }
    }
    await until(`PUBACK ${QUIET_ID}`)
    this.#mqtt.send(packet.pingreq())
    await until('PINGRESP')
    return got
  }

  async #ping(target: Target): Promise<void> {
    this.#mqtt.send(packet.pingreq())
    await this.#expect('PINGRESP', target)
  }

  async #expect(text: string, target: Target): Promise<void> {
    compare(await this.#next(text), { text }, target)
  }

  async #next(wanted: string): Promise<Answer> {
    try {
      const answer = readAnswer(await this.#mqtt.next(), this.#level)
      if (answer.copy !== null) this.#note(answer.copy)
      return answer
    } catch (error) {
      throw new Error(`${this.#name} wants ${wanted}`, { cause: error })
    }
  }

  #note({ payload, id, isDup }: NonNullable<Answer['copy']>): void {
    this.#copies.set(payload, id)
    if (id === 0) return
    if (!isDup && this.#used.has(id)) throw new Error(`two copies on their way are ${id}`)
    this.#used.add(id)
  }

  async #end(
    { by, v3, v5 }: Extract<Step, { readonly kind: 'end' }>,
    { endsAsWritten }: Target,
  ): Promise<void> {
    await this.#mqtt.closed()
    const answers = this.#mqtt.inbox.splice(0).map((frame) => {
      const isRefused = frame.type === TYPE.CONNACK && frame.body[1] === 0x84
      return readAnswer(frame, isRefused ? 5 : this.#level).text
    })
    const code = this.#level === 5 ? v5 : v3
    const wanted = code === null ? [] : [`${by} 0x${code.toString(16).padStart(2, '0')}`]
    if (endsAsWritten) assert.deepEqual(answers, wanted, this.#name)
    else {
      assert(answers.length <= 1, `${this.#name}: ${answers.join(', ')}`)
      assert(answers.every((answer) => answer.startsWith(`${by} `) && !answer.endsWith('0x00')))
    }
  }
}

function compare(
  answer: Answer,
  { text, properties, has = [], lacks = [] }: Expected,
  { endsAsWritten }: Target,
): void {
  // "No matching subscribers" is a success that a server may tell.
  const shown = (line: string): string => (endsAsWritten ? line : line.replace(/ 0x10$/, ''))
  assert.equal(shown(answer.text), shown(text))
  const all = answer.properties
  if (answer.copy !== null) assert.deepEqual(all, properties ?? {}, text)
  else {
    for (const [name, value] of Object.entries(properties ?? {}))
      assert.deepEqual(all[name as keyof typeof all], value, `${name} of ${text}`)
  }
  for (const name of has) assert(name in all, `${text} has no ${name}`)
  for (const name of lacks) assert(!(name in all), `${text} has ${name}`)
}
