/**
 * Holds the fleet's books against what the cloud stored. Shows I1 to I4 from outside: nothing
 * acknowledged is missing, nothing of QoS 2 is there twice, first occurrences are in the order of
 * sending, payloads are the published bytes. Pure: the caller brings both sides. A reading is
 * recognised by its device and its payload's hash.
 */
import { type LedgerEntry, payloadHash } from './ledger.ts'
import type { StoredReading } from './stored-line.ts'

export interface Verdict {
  /** By QoS. */
  readonly published: readonly [number, number, number]
  readonly acked: readonly [number, number, number]
  /** Lines that the cloud stored, all in all. */
  readonly storedLines: number
  /** Readings of the ledger that are stored at least once. */
  readonly storedReadings: number
  /** Acknowledged at QoS 1 or 2 and not stored: broken promise. */
  readonly lost: number
  /** QoS 1 or 2, neither acknowledged nor stored: still the device's to send. */
  readonly pending: number
  /**
   * The gateway said with a reason code of 0x80 and above that it does not take them: no promise,
   * and final.
   */
  readonly refused: number
  /** The gateway said that nobody takes them (0x10). */
  readonly untaken: number
  /** Said to be taken by nobody, and stored nevertheless: broken promise. */
  readonly contradicted: number
  /** QoS 0 readings that are not stored: allowed. */
  readonly qos0Missing: number
  /**
   * Further copies of QoS 2 (and QoS 0, which is sent once) readings in one stream: broken promise.
   */
  readonly duplicated: number
  /** Further copies of QoS 2 readings that were sent anew, because their session had ended: allowed. */
  readonly sentAnewRepeats: number
  /** Further copies of QoS 1 readings in one stream: allowed, the device itself sent them again. */
  readonly qos1Repeats: number
  /**
   * First occurrences that came behind a later reading of the same stream, device and QoS: broken
   * promise.
   */
  readonly reordered: number
  /** Stored lines of a known device whose payload it never published: broken promise. */
  readonly differing: number
  /** Stored lines that break the contract: broken promise. */
  readonly unreadable: number
  /** Stored lines of devices that the ledger does not know. */
  readonly foreign: number
  /** The first few broken promises in words. */
  readonly examples: readonly string[]
  readonly ok: boolean
}

const MAX_EXAMPLES = 20
/** No matching subscribers: the message is taken, and nobody is there who wants it. */
export const UNTAKEN_CODE = 0x10

/** Whose line it is. Copies are counted per stream; order is judged within one identity of it. */
export interface QueueId {
  readonly gateway: string
  readonly spool: string
  readonly stream: string
}

interface Expected {
  readonly entry: LedgerEntry
  /** How often each stream has it. */
  readonly copies: Map<string, number>
}

export class Verifier {
  readonly #devices = new Map<string, Map<string, Expected>>()
  readonly #published: [number, number, number] = [0, 0, 0]
  readonly #acked: [number, number, number] = [0, 0, 0]
  /** Highest order seen, by queue, device and QoS. */
  readonly #highest = new Map<string, number>()
  readonly #examples: string[] = []
  #storedLines = 0
  #duplicated = 0
  #sentAnewRepeats = 0
  #qos1Repeats = 0
  #reordered = 0
  #differing = 0
  #unreadable = 0
  #foreign = 0

  /** @throws when a device published the same bytes twice: such readings could not be told apart */
  constructor(ledger: Iterable<LedgerEntry>) {
    for (const entry of ledger) {
      let readings = this.#devices.get(entry.device)
      if (readings === undefined) {
        readings = new Map()
        this.#devices.set(entry.device, readings)
      }
      if (readings.has(entry.hash)) {
        throw new Error(
          `${entry.device} published the bytes of reading ${entry.n} twice: they cannot be told apart`,
        )
      }
      readings.set(entry.hash, { entry, copies: new Map() })
      this.#published[entry.qos]++
      if (entry.ackedAtMs !== null) this.#acked[entry.qos]++
    }
  }

  /** Takes one stored line; those of one queue in the order of storing. */
  take(queue: QueueId, reading: StoredReading): void {
    const { stream } = queue
    this.#storedLines++
    const readings = this.#devices.get(reading.device)
    if (readings === undefined) {
      this.#foreign++
      return
    }
    const expected = readings.get(payloadHash(reading.payload))
    if (expected === undefined) {
      this.#differing++
      this.#example(
        `${reading.device}: seq ${reading.seq} of ${stream} carries bytes that were never published: ${reading.payload.toString('utf8', 0, 80)}`,
      )
      return
    }
    const copies = expected.copies.get(stream) ?? 0
    expected.copies.set(stream, copies + 1)
    if (copies > 0) this.#repeat(stream, reading, expected.entry)
    else this.#first(queue, reading, expected.entry)
  }

  /** Takes one stored line that cannot be read. */
  takeUnreadable(queue: QueueId, why: string): void {
    this.#storedLines++
    this.#unreadable++
    this.#example(`a line of ${queue.stream} breaks the contract: ${why}`)
  }

  result(): Verdict {
    let lost = 0
    let pending = 0
    let qos0Missing = 0
    let storedReadings = 0
    const said = { refused: 0, untaken: 0, contradicted: 0 }
    for (const readings of this.#devices.values()) {
      for (const { entry, copies } of readings.values()) {
        if (entry.refusedCode === UNTAKEN_CODE) said.untaken++
        else if (entry.refusedCode !== null) said.refused++
        if (copies.size > 0) {
          storedReadings++
          if (entry.refusedCode !== UNTAKEN_CODE) continue
          said.contradicted++
          this.#example(
            `${entry.device}: reading ${entry.n} was said to be taken by nobody, and is stored`,
          )
        } else if (entry.refusedCode !== null) continue
        else if (entry.qos === 0) qos0Missing++
        else if (entry.ackedAtMs === null) pending++
        else {
          lost++
          this.#example(
            `${entry.device}: reading ${entry.n} (QoS ${entry.qos}) was acknowledged and is lost`,
          )
        }
      }
    }
    const wrong = this.#duplicated + this.#reordered + this.#differing + this.#unreadable
    const broken = lost + said.contradicted + wrong
    return {
      published: [...this.#published],
      acked: [...this.#acked],
      storedLines: this.#storedLines,
      storedReadings,
      lost,
      pending,
      ...said,
      qos0Missing,
      duplicated: this.#duplicated,
      sentAnewRepeats: this.#sentAnewRepeats,
      qos1Repeats: this.#qos1Repeats,
      reordered: this.#reordered,
      differing: this.#differing,
      unreadable: this.#unreadable,
      foreign: this.#foreign,
      examples: [...this.#examples],
      ok: broken === 0,
    }
  }

  #repeat(stream: string, reading: StoredReading, entry: LedgerEntry): void {
    if (entry.qos === 1) {
      this.#qos1Repeats++
      return
    }
    if (entry.sentAnew) {
      this.#sentAnewRepeats++
      return
    }
    this.#duplicated++
    this.#example(
      `${entry.device}: reading ${entry.n} (QoS ${entry.qos}) is in ${stream} again at seq ${reading.seq}`,
    )
  }

  #first(queue: QueueId, reading: StoredReading, entry: LedgerEntry): void {
    const { gateway, spool, stream } = queue
    const key = [gateway, spool, stream, entry.device, entry.qos].join('\n')
    const highest = this.#highest.get(key) ?? -1
    if (entry.order > highest) {
      this.#highest.set(key, entry.order)
      return
    }
    this.#reordered++
    this.#example(
      `${entry.device}: reading ${entry.n} (sent as number ${entry.order}) is at seq ${reading.seq} of ${stream}, behind one sent as number ${highest}`,
    )
  }

  #example(text: string): void {
    if (this.#examples.length < MAX_EXAMPLES) this.#examples.push(text)
  }
}
