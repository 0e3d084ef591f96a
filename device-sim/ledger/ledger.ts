/**
 * The fleet's own books: every reading that a device took on, in the order it was to be sent, and
 * what the gateway said to it. In memory, and with a path also appended to a file that outlives a
 * crash of the fleet (NDJSON: a header, then ["p", …] for published, ["a", …] for acknowledged,
 * ["r", …] for refused with a reason code, ["n", …] for sent as a new message). Says nothing about
 * what the cloud has: verify.ts.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream, openSync, type WriteStream } from 'node:fs'
import { createInterface } from 'node:readline'

export type Qos = 0 | 1 | 2

export interface LedgerEntry {
  readonly device: string
  /** Place among the device's readings in the order of sending, from 0. */
  readonly order: number
  /** The reading's own number. */
  readonly n: number
  readonly qos: Qos
  /** {@link payloadHash} of the published bytes. */
  readonly hash: string
  readonly bytes: number
  readonly publishedAtMs: number
  /** When PUBACK or PUBCOMP came (QoS 0: when it was written); null: not yet. */
  readonly ackedAtMs: number | null
  /**
   * The reason code with which the gateway said that it is not stored: no promise, and final. null:
   * it did not.
   */
  readonly refusedCode: number | null
  /** Its session had ended before its acknowledgement: it was sent again as a new message. */
  readonly sentAnew: boolean
}

interface OpenEntry extends LedgerEntry {
  ackedAtMs: number | null
  refusedCode: number | null
  sentAnew: boolean
}

/** The header of a ledger file. */
interface LedgerHeader {
  readonly ledger: 1
  readonly seed: string
  readonly startedAt: string
}

/**
 * 64 bits of SHA-1 in hex: enough to tell a fleet's readings apart, half the memory of the whole.
 */
export function payloadHash(payload: Uint8Array): string {
  return createHash('sha1').update(payload).digest('hex').slice(0, 16)
}

export class Ledger {
  readonly published: [number, number, number] = [0, 0, 0]
  readonly acked: [number, number, number] = [0, 0, 0]
  readonly refused: [number, number, number] = [0, 0, 0]
  readonly #devices = new Map<string, OpenEntry[]>()
  readonly #file: WriteStream | null
  #fileError: Error | null = null

  /**
   * @param path null: in memory only. An existing file is replaced.
   * @throws when the file cannot be written: better now than behind an hour of measuring
   */
  constructor(path: string | null, seed: string, startedAt: Date) {
    this.#file = path === null ? null : openLedger(path)
    this.#file?.on('error', (error) => {
      this.#fileError = error
    })
    const header: LedgerHeader = { ledger: 1, seed, startedAt: startedAt.toISOString() }
    this.#write(header)
  }

  /** A device took on a reading; gives its place in the device's order. */
  publish(device: string, n: number, qos: Qos, payload: Uint8Array, atMs: number): number {
    let entries = this.#devices.get(device)
    if (entries === undefined) {
      entries = []
      this.#devices.set(device, entries)
    }
    const order = entries.length
    const hash = payloadHash(payload)
    entries.push({
      device,
      order,
      n,
      qos,
      hash,
      bytes: payload.length,
      publishedAtMs: atMs,
      ackedAtMs: null,
      refusedCode: null,
      sentAnew: false,
    })
    this.published[qos]++
    this.#write(['p', device, order, n, qos, hash, payload.length, atMs])
    return order
  }

  /** The gateway acknowledged it. A second acknowledgement of the same reading changes nothing. */
  ack(device: string, order: number, atMs: number): void {
    const entry = this.#entry(device, order)
    if (entry.ackedAtMs !== null || entry.refusedCode !== null) return
    entry.ackedAtMs = atMs
    this.acked[entry.qos]++
    this.#write(['a', device, order, atMs])
  }

  /** The gateway said with this reason code that it does not store it; the first word counts. */
  refuse(device: string, order: number, code: number, atMs: number): void {
    const entry = this.#entry(device, order)
    if (entry.ackedAtMs !== null || entry.refusedCode !== null) return
    entry.refusedCode = code
    this.refused[entry.qos]++
    this.#write(['r', device, order, code, atMs])
  }

  /** Its session has ended: it goes out as a new message, and may be stored twice by that. */
  sendAnew(device: string, order: number): void {
    const entry = this.#entry(device, order)
    if (entry.sentAnew) return
    entry.sentAnew = true
    this.#write(['n', device, order])
  }

  /** Readings at QoS 1 and 2 that were taken on, and to which the gateway has said nothing yet. */
  get unacknowledged(): number {
    const open = (qos: 1 | 2): number => this.published[qos] - this.acked[qos] - this.refused[qos]
    return open(1) + open(2)
  }

  *entries(): IterableIterator<LedgerEntry> {
    for (const entries of this.#devices.values()) yield* entries
  }

  /** @throws when the file could not be written */
  async close(): Promise<void> {
    const file = this.#file
    if (file !== null && this.#fileError === null) {
      file.end()
      await once(file, 'close')
    }
    if (this.#fileError !== null) throw this.#fileError
  }

  #entry(device: string, order: number): OpenEntry {
    const entry = this.#devices.get(device)?.[order]
    if (entry === undefined) throw new Error(`the ledger has no reading ${order} of ${device}`)
    return entry
  }

  #write(line: unknown): void {
    this.#file?.write(`${JSON.stringify(line)}\n`)
  }
}

function openLedger(path: string): WriteStream {
  try {
    return createWriteStream(path, { fd: openSync(path, 'w') })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'its folder does not exist' : message
    throw new Error(`the ledger ${path} cannot be written: ${why}`, { cause: error })
  }
}

/**
 * Reads a ledger file back. A torn last line, as a killed fleet leaves it, is passed over.
 * @throws when the file is no ledger or contradicts itself
 */
export async function readLedger(path: string): Promise<LedgerEntry[]> {
  const entries: OpenEntry[] = []
  const places = new Map<string, OpenEntry[]>()
  let number = 0
  let torn: number | null = null
  for await (const line of createInterface({
    input: createReadStream(path),
    crlfDelay: Infinity,
  })) {
    number++
    if (torn !== null) throw new Error(`${path}: line ${torn} is not JSON`)
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch {
      torn = number
      continue
    }
    if (number === 1) {
      if (!isHeader(value))
        throw new Error(`${path} is no ledger: its first line is not {"ledger":1,…}`)
      continue
    }
    if (!takeLine(value, entries, places))
      throw new Error(`${path}: line ${number} makes no sense: ${line}`)
  }
  if (number === 0) throw new Error(`${path} is no ledger: it is empty`)
  return entries
}

function isHeader(value: unknown): value is LedgerHeader {
  return typeof value === 'object' && value !== null && 'ledger' in value && value.ledger === 1
}

function takeLine(value: unknown, entries: OpenEntry[], places: Map<string, OpenEntry[]>): boolean {
  if (!Array.isArray(value)) return false
  const [kind, device, order, ...rest] = value as readonly unknown[]
  if (typeof device !== 'string' || typeof order !== 'number') return false
  const known = places.get(device) ?? []
  if (kind !== 'p') return takeWord(kind, known[order], rest)
  const [n, qos, hash, bytes, publishedAtMs] = rest
  if (order !== known.length || !isQos(qos)) return false
  if (typeof n !== 'number' || typeof hash !== 'string') return false
  if (typeof bytes !== 'number' || typeof publishedAtMs !== 'number') return false
  const published = { device, order, n, qos, hash, bytes, publishedAtMs }
  const entry: OpenEntry = { ...published, ackedAtMs: null, refusedCode: null, sentAnew: false }
  known.push(entry)
  places.set(device, known)
  entries.push(entry)
  return true
}

/** What became of a reading. */
function takeWord(kind: unknown, entry: OpenEntry | undefined, rest: readonly unknown[]): boolean {
  if (entry === undefined) return false
  const [value] = rest
  if (kind === 'n') entry.sentAnew = true
  else if (typeof value !== 'number') return false
  else if (kind === 'a') entry.ackedAtMs = value
  else if (kind === 'r') entry.refusedCode = value
  else return false
  return true
}

function isQos(value: unknown): value is Qos {
  return value === 0 || value === 1 || value === 2
}
