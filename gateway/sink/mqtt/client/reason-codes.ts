/**
 * What the codes of a broker mean for a batch: CONNACK of 3.1.1 and 5, DISCONNECT, PUBACK and
 * PUBREC. Pure. What no table has is held with its code: nothing is deleted or refused for a word
 * that nobody knows (I8).
 */

/**
 * `throttled`: try again, less in all. `taken-over`: another client connected under the same id.
 */
export type CodeMeaning = 'retry' | 'throttled' | 'hold' | 'refused' | 'taken-over'

export interface CodeWord {
  readonly meaning: CodeMeaning
  readonly words: string
}

type Table = Readonly<Record<number, readonly [meaning: CodeMeaning, words: string]>>

const UNKNOWN = 'a code that the protocol does not have here'
const CREDENTIALS = 'check username and password, and whether they may connect with this clientId'

/** MQTT 3.1.1, table 3.1. */
const CONNACK_3: Table = {
  1: ['hold', 'it does not speak this version; set version to the other one'],
  2: ['hold', 'it does not take this client id; set clientId'],
  3: ['retry', 'it is not available now'],
  4: ['hold', `wrong user name or password; ${CREDENTIALS}`],
  5: ['hold', `not authorized; ${CREDENTIALS}`],
}

const OF_BOTH: Table = {
  0x80: ['retry', 'unspecified error'],
  0x81: ['hold', 'malformed packet'],
  0x82: ['hold', 'protocol error'],
  0x83: ['retry', 'an error of its own'],
  0x89: ['throttled', 'it is busy'],
  0x9a: ['hold', 'no retained messages; set retain to false'],
  0x9b: ['hold', 'not this QoS; set qos to 1'],
  0x9c: ['hold', 'use another server, for now; set url'],
  0x9d: ['hold', 'use another server; set url'],
  0x9f: ['throttled', 'too many connections in a short time'],
}

const CONNACK_5: Table = {
  ...OF_BOTH,
  // A broker of 3.1.1 answers in its own version.
  1: ['hold', 'it does not speak MQTT 5; set version to 3.1.1'],
  0x84: ['hold', 'it does not speak MQTT 5; set version to 3.1.1'],
  0x85: ['hold', 'it does not take this client id; set clientId'],
  0x86: ['hold', `wrong user name or password; ${CREDENTIALS}`],
  0x87: ['hold', `not authorized; ${CREDENTIALS}`],
  0x88: ['retry', 'it is not available now'],
  0x8a: ['hold', 'this client is banned there'],
  0x8c: ['hold', 'another way of authentication is asked for'],
  0x95: ['hold', 'CONNECT was too large'],
  0x97: ['throttled', 'a quota was exceeded'],
}

const DISCONNECT: Table = {
  ...OF_BOTH,
  0x00: ['retry', 'it closed the connection'],
  0x87: ['hold', 'not authorized; may this client publish on these topics?'],
  0x8b: ['retry', 'it is shutting down'],
  0x8d: ['retry', 'it got nothing for the keepalive time'],
  0x8e: ['taken-over', 'another client connected with the same client id'],
  0x90: ['retry', 'it does not take a topic'],
  0x93: ['hold', 'more messages without acknowledgment than it allows; set window lower'],
  0x95: ['retry', 'a message is too large; set maxMessageBytes to what it takes'],
  0x96: ['throttled', 'messages come too fast'],
  0x97: ['throttled', 'a quota was exceeded'],
  0x98: ['retry', 'its administrator closed the connection'],
  0x99: ['retry', 'it does not take a payload'],
  0xa0: ['retry', 'the longest time of a connection is over'],
}

/** PUBACK and PUBREC of MQTT 5, from 0x80. */
const PUBLISH: Table = {
  0x80: ['retry', 'unspecified error'],
  0x83: ['retry', 'an error of its own'],
  0x87: ['hold', 'not authorized to publish on this topic'],
  0x90: ['refused', 'it does not take this topic'],
  0x91: ['retry', 'the packet id is in use there'],
  0x97: ['throttled', 'a quota was exceeded'],
  0x99: ['refused', 'the payload is not of the form that it says it is'],
}

const NO_MATCHING_SUBSCRIBERS = 0x10

export function connackWord(code: number, version: '3.1.1' | '5'): CodeWord {
  return wordOf(version === '5' ? CONNACK_5 : CONNACK_3, code)
}

export function disconnectWord(code: number): CodeWord {
  return wordOf(DISCONNECT, code)
}

/** null: it has the message. */
export function publishWord(code: number, noSubscribers: 'accept' | 'hold'): CodeWord | null {
  if (code === 0) return null
  if (code !== NO_MATCHING_SUBSCRIBERS) return wordOf(PUBLISH, code)
  if (noSubscribers === 'accept') return null
  return { meaning: 'hold', words: 'nobody subscribes to this topic' }
}

function wordOf(table: Table, code: number): CodeWord {
  const [meaning, words] = table[code] ?? ['hold', UNKNOWN]
  return { meaning, words }
}

/** As it is shown and stored: `0x87`; those of 3.1.1 as they are written there, `5`. */
export function codeText(code: number): string {
  return code < 0x10 ? String(code) : `0x${code.toString(16)}`
}
