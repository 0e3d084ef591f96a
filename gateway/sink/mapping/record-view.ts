/**
 * One record as a mapping sees it: where it came from, its topic by level, what is in its payload.
 * One view serves a whole batch: it is pointed at each record in turn, and parses a payload at most
 * once, only if it is looked into.
 */
import type { Batch, SinkRecord } from '../../ports/sink.ts'
import { type Pointer, rawAt } from './pointer.ts'

/** This record has no place in what is sent: it is refused with this reason, and parked. */
export class Unmappable extends Error {
  override readonly name = 'Unmappable'
}

/** What a payload holds at some place. */
export interface FieldValue {
  readonly type: 'text' | 'number' | 'boolean' | 'null' | 'json' | 'missing'
  /** A string's content, a number with every digit as it was written; `json`: an object or list. */
  readonly text: string
}

const QUOTE = 0x22
const OPEN_BRACKET = 0x5b
const OPEN_BRACE = 0x7b

const MISSING: FieldValue = { type: 'missing', text: '' }
const NULL: FieldValue = { type: 'null', text: 'null' }

export class RecordView {
  readonly gateway: string
  readonly stream: string
  #record: SinkRecord | null = null
  #levels: readonly string[] | null = null
  #json: string | null = null
  #parsed: unknown = undefined
  #second = Number.NaN
  #secondText = ''

  constructor({ gateway, stream }: Pick<Batch, 'gateway' | 'stream'>) {
    this.gateway = gateway
    this.stream = stream
  }

  /** Points the view at a record. */
  at(record: SinkRecord): this {
    this.#record = record
    this.#levels = null
    this.#json = null
    this.#parsed = undefined
    return this
  }

  get record(): SinkRecord {
    if (this.#record === null) throw new Error('the view was not pointed at a record')
    return this.#record
  }

  /** A level of the topic, 0 the first, -1 the last. @throws Unmappable */
  level(n: number): string {
    this.#levels ??= this.record.topic.split('/')
    const level = this.#levels.at(n)
    if (level === undefined)
      throw new Unmappable(`the topic ${this.record.topic} has no level ${n}`)
    return level
  }

  /** The payload as it came. @throws Unmappable when it is not JSON */
  get json(): string {
    if (this.#json !== null) return this.#json
    const { payload, payloadKind } = this.record
    if (payloadKind !== 'json') throw new Unmappable('the payload is not JSON')
    this.#json = bytesOf(payload).toString()
    return this.#json
  }

  /** Its arrival, as the contract has it. */
  get receivedAt(): string {
    const { receivedAtMs } = this.record
    const second = Math.floor(receivedAtMs / 1000)
    // Records of a batch came one behind the other: mostly in one second.
    if (second !== this.#second) {
      this.#secondText = new Date(second * 1000).toISOString().slice(0, -'000Z'.length)
      this.#second = second
    }
    return `${this.#secondText}${String(receivedAtMs - second * 1000).padStart(3, '0')}Z`
  }

  /** All of it, JSON, as the contract has it. */
  get line(): string {
    const { line } = this.record
    return bytesOf(line).toString('utf8', 0, line.length - 1)
  }

  /** The bytes of the payload, whatever they are. */
  get base64(): string {
    return bytesOf(this.record.payload).toString('base64')
  }

  /** The payload, parsed. @throws Unmappable when it is not JSON */
  get payload(): unknown {
    this.#parsed ??= JSON.parse(this.json)
    return this.#parsed
  }

  /**
   * Found by its text: a few values cost less than to parse all of the payload.
   * @throws Unmappable when the payload is not JSON
   */
  field(pointer: Pointer): FieldValue {
    const text = rawAt(this.json, pointer)
    if (text === null) return MISSING
    const first = text.charCodeAt(0)
    if (first === QUOTE) return { type: 'text', text: JSON.parse(text) as string }
    if (first === OPEN_BRACE || first === OPEN_BRACKET) return { type: 'json', text }
    if (text === 'null') return NULL
    return { type: text === 'true' || text === 'false' ? 'boolean' : 'number', text }
  }

  /** The text of what is there. @throws Unmappable when there is nothing, or null */
  textAt(pointer: Pointer): FieldValue {
    const value = this.field(pointer)
    if (value.type === 'missing') throw new Unmappable(`${nameOf(pointer)} is missing`)
    if (value.type === 'null') throw new Unmappable(`${nameOf(pointer)} is null`)
    return value
  }
}

function nameOf({ text }: Pointer): string {
  return text === '' || text === '/' ? 'the payload' : text
}

function bytesOf(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
