/**
 * A stream's verdict on a message: record, ingest dead letter, drop, or wait. Hot path: no
 * allocation, no string and no promise per record. All verdicts of one message land in the commit
 * that is open.
 */
import { createHash } from 'node:crypto'
import type {
  Envelope,
  Fate,
  Message,
  MessageProperties,
  StreamIntake,
} from '../../ports/appender.ts'
import { encodeDeadLetter } from '../codec/dead-letter.ts'
import { isJson } from '../codec/json-scan.ts'
import { textBytes } from '../codec/json-text.ts'
import { propertyMembers, type RecordProperty } from '../codec/property-members.ts'
import { envelopeBytes, type RecordFields } from '../codec/record.ts'
import { deadLetterKey } from '../store/keys.ts'
import { clockMembers } from '../time/wall-clock.ts'
import type { StreamPassage } from './passage.ts'
import type { OpenCommit, SpoolStream } from './stream.ts'
import { dropped, received, refusedAtIngest, takeSeqs } from './transitions.ts'

/**
 * Of a message above `maxRecordBytes` whose dead letter has no room for all of it, this much, and
 * length and hash of all.
 */
const TRUNCATED_BYTES = 1024
/** What a dead letter says besides its payload. */
const LETTER_OVERHEAD_BYTES = 1024
/** Bytes of a record's line beside its payload and envelope, for admission. */
const LINE_OVERHEAD_BYTES = 200
/** What a message of a few hundred bytes takes, for admission. */
const SMALL_BYTES = 512
/** Above this share a stream that holds messages back is about to. */
const TIGHT_SHARE = 0.9

export class Intake implements StreamIntake {
  readonly stream: SpoolStream
  readonly name: string
  topics!: readonly string[]
  device!: StreamIntake['device']
  wantsProperties!: boolean
  passage!: StreamPassage | null
  readonly #commit: OpenCommit
  // Of the configuration, see `reconfigure`.
  #maxRecordBytes!: number
  #jsonOnly!: boolean
  #asText!: boolean
  #properties!: readonly RecordProperty[]
  #honorsExpiry!: boolean
  /** Of the message that is judged: it is asked for twice. */
  #members: { readonly of: MessageProperties; readonly bytes: Uint8Array | null } | null = null
  /** A message that may become a dead letter waits for room among them. */
  #holdsLetters!: boolean
  #maxLetterBytes!: number
  #whenFull!: 'block' | 'drop-oldest' | 'drop-newest'
  #maxBytes!: number
  readonly #fields: RecordFields
  #full = false
  #lettersFull = false

  constructor(stream: SpoolStream, commit: OpenCommit) {
    this.stream = stream
    this.name = stream.name
    this.#commit = commit
    this.reconfigure()
    this.#fields = {
      idPrefix: stream.prefix,
      seq: 0,
      envelope: new Uint8Array(),
      qos: 0,
      dup: false,
      retain: false,
      will: false,
      receivedAtMs: 0,
      payload: new Uint8Array(),
      start: 0,
      end: 0,
      json: false,
      textLength: -1,
      requeuedFrom: null,
    }
  }

  /** Takes up the configuration of its stream, which has one. */
  reconfigure(): void {
    const { config, name, passage } = this.stream
    if (!config) throw new Error(`stream ${name} is not configured`)
    this.topics = config.topics
    this.device = config.device
    this.#maxRecordBytes = config.maxRecordBytes
    this.#jsonOnly = config.payload === 'json'
    this.#asText = config.payload === 'text'
    this.#properties = config.properties
    this.#honorsExpiry = config.messageExpiry === 'honor'
    this.wantsProperties = config.properties.length > 0 || this.#honorsExpiry
    this.passage = passage
    this.#holdsLetters = config.deadLetters.whenFull === 'hold'
    this.#maxLetterBytes = config.deadLetters.maxBytes
    this.#whenFull = config.whenFull
    this.#maxBytes = config.maxBytes
    this.#members = null
  }

  envelope(device: string, topic: string): Envelope {
    return { bytes: envelopeBytes(device, topic) }
  }

  /**
   * Whether a message of QoS 1 or 2 has to wait: for room in the stream, or among its dead letters.
   */
  mustWait(message: Message): boolean {
    const payloadBytes = this.#bytesOf(message)
    if (message.refusal !== null || payloadBytes > this.#maxRecordBytes) {
      return this.#holdsLetters && !this.#hasLetterRoom(this.#leastLetterBytes(payloadBytes))
    }
    if (this.#jsonOnly && this.#holdsLetters && this.#isLetterNear(payloadBytes)) {
      const isRefused = !isJson(message.payload, message.start, message.end)
      if (isRefused && !this.#hasLetterRoom(letterBytes(payloadBytes))) return true
    }
    if (this.stream.state.nextSeq >= this.stream.leaseEnd) return true
    if (!this.#isFull(payloadBytes)) return false
    if (this.#whenFull === 'block') return true
    return (
      this.#whenFull === 'drop-oldest' &&
      this.stream.mustWaitForCommit(payloadBytes, this.#maxBytes)
    )
  }

  /** What counts against `maxRecordBytes`. */
  #bytesOf(message: Message): number {
    return message.end - message.start + (this.#membersOf(message)?.length ?? 0)
  }

  #membersOf({ properties }: Message): Uint8Array | null {
    if (properties === null || !this.wantsProperties) return null
    if (this.#members?.of !== properties) {
      const bytes = propertyMembers(this.#properties, this.#honorsExpiry, properties)
      this.#members = { of: properties, bytes }
    }
    return this.#members.bytes
  }

  #sizeWords(message: Message): string {
    const members = this.#membersOf(message)
    const payload = `payload of ${message.end - message.start} bytes`
    return members === null ? payload : `${payload} with properties of ${members.length} bytes`
  }

  /** One alone always has. */
  #hasLetterRoom(bytes: number): boolean {
    const quota = this.stream.state.deadLetters.ingest
    const hasRoom = quota.count === 0 || quota.bytes + bytes <= this.#maxLetterBytes
    if (!hasRoom && !this.#lettersFull) {
      this.stream.emit({
        type: 'spool.dead-letters-full',
        stream: this.name,
        maxBytes: this.#maxLetterBytes,
      })
    }
    this.#lettersFull = !hasRoom
    return hasRoom
  }

  /** Cheap, for every message: whether it matters if this one is refused. */
  #isLetterNear(payloadBytes: number): boolean {
    return (
      this.stream.state.deadLetters.ingest.bytes + letterBytes(payloadBytes) > this.#maxLetterBytes
    )
  }

  /** What is above the record limit may be cut. */
  #leastLetterBytes(payloadBytes: number): number {
    return letterBytes(payloadBytes > this.#maxRecordBytes ? TRUNCATED_BYTES : payloadBytes)
  }

  #isFull(payloadBytes: number): boolean {
    const { stream } = this
    const bytes =
      stream.storedBytes + stream.uncommittedRawBytes + payloadBytes + LINE_OVERHEAD_BYTES
    const full = bytes > this.#maxBytes
    if (full && !this.#full) {
      const { name } = this
      stream.emit({
        type: 'spool.stream-full',
        stream: name,
        whenFull: this.#whenFull,
        maxBytes: this.#maxBytes,
      })
    }
    this.#full = full
    return full
  }

  /**
   * Takes the message; the caller has asked `mustWait` before. `closed`: only QoS 0 gets here, and
   * is dropped.
   */
  take(message: Message, envelope: Envelope, closed: boolean): Fate {
    const { stream } = this
    const { state } = stream
    const { payload, start, end } = message
    const bytes = this.#bytesOf(message)
    received(state, 1)
    if (message.refusal !== null) {
      return this.#deadLetter(message, envelope, closed, message.refusal)
    }
    if (bytes > this.#maxRecordBytes) {
      return this.#deadLetter(
        message,
        envelope,
        closed,
        `${this.#sizeWords(message)} is above maxRecordBytes ${this.#maxRecordBytes}`,
      )
    }
    const textLength = this.#asText ? textBytes(payload, start, end) : -1
    const json = !this.#asText && isJson(payload, start, end)
    if (this.#jsonOnly && !json) {
      return this.#deadLetter(
        message,
        envelope,
        closed,
        'payload is not JSON, which the stream wants (payload: json)',
      )
    }
    if (this.#drops(message.qos, bytes, closed)) return 'dropped'
    const fields = this.#fields
    fields.idPrefix = stream.prefix
    fields.seq = takeSeqs(state, 1)
    fields.envelope = envelope.bytes
    fields.qos = message.qos
    fields.dup = message.dup
    fields.retain = message.retain
    fields.will = message.will
    fields.receivedAtMs = message.receivedAtMs
    fields.clock = clockMembers(message.receivedAtMs, message.arrivedMs)
    fields.payload = payload
    fields.start = start
    fields.end = end
    fields.json = json
    fields.textLength = textLength
    fields.properties = this.#membersOf(message)
    if (this.#asText && textLength < 0) stream.illFormedTexts++
    stream.open.append(stream.identity, fields)
    this.#commit.grew(bytes + LINE_OVERHEAD_BYTES)
    this.#commit.touch(stream)
    return 'kept'
  }

  /** For a small message, without a wait and without a drop of it. */
  get hasRoom(): boolean {
    const { leaseEnd, state, storedBytes, uncommittedRawBytes } = this.stream
    if (state.nextSeq >= leaseEnd) return false
    if (this.#whenFull === 'drop-oldest') return true
    return storedBytes + uncommittedRawBytes + SMALL_BYTES <= this.#maxBytes
  }

  /** It holds messages back when it is full, and that is near. */
  get isTight(): boolean {
    const { storedBytes, uncommittedRawBytes } = this.stream
    return (
      this.#whenFull === 'block' && storedBytes + uncommittedRawBytes > this.#maxBytes * TIGHT_SHARE
    )
  }

  /**
   * Only QoS 0, which can be told nothing, and `drop-newest` get here full; counted, no seq taken,
   * so no gap (I9).
   */
  #drops(qos: number, bytes: number, closed: boolean): boolean {
    const { stream } = this
    const impossible = closed || stream.state.nextSeq >= stream.leaseEnd
    const full = this.#isFull(bytes)
    if (full && this.#whenFull === 'drop-newest') dropped(stream.state, 'drop-newest')
    else if (impossible || (full && qos === 0 && this.#whenFull === 'block'))
      dropped(stream.state, 'full-qos0')
    else return false
    this.#commit.touch(stream, qos === 0)
    return true
  }

  /**
   * A message that the rules refuse is acknowledged and kept: 3.1.1 has no negative ack, and a
   * device resends it without end.
   */
  #deadLetter(message: Message, envelope: Envelope, closed: boolean, reason: string): Fate {
    const { stream } = this
    const { state } = stream
    const quota = state.deadLetters.ingest
    const { payload, start, end } = message
    const all = payload.subarray(start, end)
    const bytes = this.#bytesOf(message)
    // QoS 0 can be told nothing; the others have waited for this room.
    const isRoomless = this.#holdsLetters && !this.#hasLetterRoom(this.#leastLetterBytes(bytes))
    if (message.qos === 0 && (closed || isRoomless)) {
      dropped(state, 'full-qos0')
      this.#commit.touch(stream, true)
      return 'dropped'
    }
    const n = quota.next
    const isTooLarge = bytes > this.#maxRecordBytes
    const truncated = isTooLarge && quota.bytes + letterBytes(bytes) > this.#maxLetterBytes
    const value = encodeDeadLetter({
      idPrefix: stream.prefix,
      n,
      envelope: envelope.bytes,
      message,
      spoolTimeMs: stream.time.nowMs(),
      payload: truncated ? all.subarray(0, TRUNCATED_BYTES) : all,
      properties: this.#membersOf(message),
      asText: this.#asText,
      reason,
      truncated: truncated
        ? { bytes: all.length, sha256: createHash('sha256').update(all).digest('hex') }
        : null,
    })
    refusedAtIngest(state, value.bytes.length)
    this.#commit.add({ type: 'put', key: deadLetterKey(state.id, 'ingest', n), value: value.bytes })
    this.#commit.grew(value.bytes.length)
    this.#commit.touch(stream)
    stream.emit({ type: 'spool.ingest-dead-letter', stream: this.name, id: value.id, reason })
    return truncated ? 'cut' : 'kept'
  }
}

/** Room for a dead letter, as base64 if it must. */
function letterBytes(payloadBytes: number): number {
  return Math.ceil((payloadBytes * 4) / 3) + LETTER_OVERHEAD_BYTES
}
