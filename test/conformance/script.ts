/**
 * The language in which the standard's statements are written down as data: what several clients
 * send, and what each of them gets. Pure.
 */
import type { Level } from '../support/mqtt-answers.ts'
import type { Properties } from '../support/mqtt-properties.ts'
import { type ConnectFields, type PublishFields, packet } from '../support/raw-mqtt.ts'

/** Receive Maximum that the server has to grant: cases of flow control go by it. */
export const GRANT = 10
/** Maximum Packet Size, the same. */
export const LARGEST_PACKET = 4_096
/** A user whom the gateway does not let in. */
export const WRONG_USER = 'wrong'

/** One entry: a sequence that shows whether a server keeps to some statements. */
export interface Case {
  /** Numbers of MQTT 3.1.1 without `MQTT-`, such as `3.1.0-1`; none: it is not played there. */
  readonly v3: readonly string[]
  /** The same of MQTT 5. */
  readonly v5: readonly string[]
  readonly what: string
  readonly steps: (kit: Kit) => readonly Step[]
  /** What Mosquitto 2.0 does otherwise, in one of the versions or both. */
  readonly mosquitto?: string
}

/** What a case is written with: names of its own, so that cases can share a server. */
export interface Kit {
  readonly level: Level
  /** Client id of a client that connects without one. */
  readonly idOf: (client: string) => string
  /** A stream of the gateway takes it, and everything below. */
  readonly topic: string
  /** Nobody takes it. */
  readonly lost: string
  /** A connection and its CONNECT. */
  readonly connect: (client: string, fields?: ConnectFields) => readonly Step[]
  /** Connected, and without a session from before. */
  readonly join: (client: string, fields?: ConnectFields) => readonly Step[]
  readonly publish: (topic: string, payload: string, fields?: PublishFields) => Buffer
  /** `options`: the byte behind the filter. */
  readonly subscribe: (client: string, filter: string, options?: number) => readonly Step[]
}

export interface Expected {
  /** As answers.ts writes it. */
  readonly text: string
  /** Of a PUBLISH all that there are, `{}` by default; of other packets those named here. */
  readonly properties?: Properties
  /** Properties that have to be there, whatever they say. */
  readonly has?: readonly (keyof Properties)[]
  readonly lacks?: readonly (keyof Properties)[]
}

export type Step =
  | { readonly kind: 'open'; readonly client: string }
  | { readonly kind: 'send'; readonly client: string; readonly bytes: Buffer }
  | { readonly kind: 'get'; readonly client: string; readonly frames: readonly Expected[] }
  /** Answers the copy with this payload. */
  | {
      readonly kind: 'answer'
      readonly client: string
      readonly payload: string
      readonly first: number
      readonly code: number | null
    }
  /** Nothing else has come, and the connection lives. */
  | { readonly kind: 'quiet'; readonly client: string }
  /** The same of a connection that may not publish now: what is still on its way is not seen. */
  | { readonly kind: 'alive'; readonly client: string }
  /** One of them has got this, whichever it is, and none of them anything else. */
  | {
      readonly kind: 'one of'
      readonly client: string
      readonly others: readonly string[]
      readonly text: string
    }
  /** The server ends it, with this code of a CONNACK or DISCONNECT if it sends one. */
  | {
      readonly kind: 'end'
      readonly client: string
      readonly by: 'CONNACK' | 'DISCONNECT'
      readonly v3: number | null
      readonly v5: number | null
    }
  /** The client ends it without a word. */
  | { readonly kind: 'cut'; readonly client: string }

type Answer = string | Expected

export const open = (client: string): Step => ({ kind: 'open', client })

export const send = (client: string, ...bytes: readonly Buffer[]): Step => ({
  kind: 'send',
  client,
  bytes: Buffer.concat(bytes),
})

export const get = (client: string, ...answers: readonly Answer[]): Step => ({
  kind: 'get',
  client,
  frames: answers.map((answer) => (typeof answer === 'string' ? { text: answer } : answer)),
})

export const quiet = (client: string): Step => ({ kind: 'quiet', client })
export const alive = (client: string): Step => ({ kind: 'alive', client })
export const cut = (client: string): Step => ({ kind: 'cut', client })

export const oneOf = (clients: readonly [string, ...string[]], text: string): Step => {
  const [client, ...others] = clients
  return { kind: 'one of', client, others, text }
}

/** A CONNACK with this code, if the version has one for it, and closed. */
export const refused = (client: string, v5: number | null, v3: number | null = null): Step => ({
  kind: 'end',
  client,
  by: 'CONNACK',
  v3,
  v5,
})

/** Closed, in version 5 behind a DISCONNECT with this code. */
export const ended = (client: string, v5: number | null = null): Step => ({
  kind: 'end',
  client,
  by: 'DISCONNECT',
  v3: null,
  v5,
})

export const answer = (
  client: string,
  payload: string,
  first: number,
  code: number | null = null,
): Step => ({ kind: 'answer', client, payload, first, code })

export function kitOf(level: Level, id: string): Kit {
  const isV5 = level === 5
  const idOf = (client: string): string => `${id}${client}`
  const connect: Kit['connect'] = (client, fields = {}) => [
    open(client),
    send(client, packet.connect({ level, clientId: idOf(client), ...fields })),
  ]
  return {
    level,
    idOf,
    topic: `t/${id}`,
    lost: `nobody/${id}`,
    connect,
    join: (client, fields) => [...connect(client, fields), get(client, 'CONNACK 0x00')],
    publish: (topic, payload, fields = {}) =>
      packet.publish(topic, payload, isV5 ? { properties: {}, ...fields } : fields),
    subscribe: (client, filter, options = 0) => [
      send(client, packet.subscribe(1, [[filter, options]], isV5 ? {} : undefined)),
      get(client, `SUBACK 1 0${options & 3}`),
    ],
  }
}

/** Numbers with blanks between them. */
export function entry(
  [v3, v5]: readonly [string, string],
  what: string,
  steps: Case['steps'],
  mosquitto?: string,
): Case {
  const numbers = (text: string): string[] => text.split(' ').filter((one) => one !== '')
  const noted = mosquitto === undefined ? {} : { mosquitto }
  return { v3: numbers(v3), v5: numbers(v5), what, steps, ...noted }
}
