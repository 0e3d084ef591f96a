/**
 * The seq lease: "seqs of this stream may reach N", for every stream, on disk before the first seq
 * under it is dealt. After a crash numbering goes on at the lease's end, so no seq is ever used
 * twice (I4), whatever of the database survived.
 *
 * The file has two slots that are written in turn, in place: nothing is allocated, so it works on a
 * full disk (I6), and a write that is torn leaves the other slot, whose lease is the one that was
 * in force.
 *
 *   slot: "SLSE" | version 1 | 3 bytes 0 | generation u64 | payload length u32 | CRC-32 of all that and the payload
 *   payload: count u16, then for each stream: key length u8, key, end u64      (little endian)
 *
 * Does not know what a lease should reach. One limit of two slots: if the newer one is not torn but
 * rotten, the older is taken for the truth. Who knows a stored seq at or above a lease's end must
 * treat the lease as damaged;
 * `torn` says that the question is there.
 */
import { type FileHandle, open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorCode } from '../../shared/errors.ts'
import { syncFolder } from '../../shared/files.ts'
import { crc32 } from '../codec/crc32.ts'
import { isFull } from './disk-errors.ts'

export const MAX_LEASED_STREAMS = 256
/** `<spoolId>/<stream>`, both of at most 63 characters, and room to spare. */
const MAX_LEASE_KEY_BYTES = 255

const MAGIC = 0x45534c53 // "SLSE"
const FORMAT_VERSION = 1
const HEADER_BYTES = 24
const CRC_AT = 20
const ENTRY_BYTES = 9
const MAX_PAYLOAD_BYTES = 2 + MAX_LEASED_STREAMS * (ENTRY_BYTES + MAX_LEASE_KEY_BYTES)
/** A multiple of every page and sector size, so that writing one slot never touches the other. */
const SLOT_BYTES = Math.ceil((HEADER_BYTES + MAX_PAYLOAD_BYTES) / 65_536) * 65_536
const SLOTS = [0, 1] as const

type SlotNumber = (typeof SLOTS)[number]

interface Slot {
  readonly number: SlotNumber
  readonly generation: number
  readonly ends: ReadonlyMap<string, number>
}

interface OpenedLease {
  readonly lease: SeqLease
  /**
   * `missing`: there was no file. `damaged`: there was one, without a readable slot. In both cases `ends` is empty.
   */
  readonly state: 'ok' | 'missing' | 'damaged'
  readonly ends: ReadonlyMap<string, number>
  /** One slot was not readable: a write was torn, or the disk damaged what was written. */
  readonly torn: boolean
}

export class SeqLease {
  readonly #file: FileHandle
  /** The slot that must survive the next write. */
  #current: SlotNumber
  #generation: number
  #last: Promise<unknown> = Promise.resolve()

  private constructor(file: FileHandle, current: SlotNumber, generation: number) {
    this.#file = file
    this.#current = current
    this.#generation = generation
  }

  /** Opens the file; makes it, durably and with all its bytes, where it is missing. */
  static async open(path: string): Promise<OpenedLease> {
    const existing = await openExisting(path)
    if (existing === null) {
      const lease = new SeqLease(await create(path), 1, 2)
      return { lease, state: 'missing', ends: new Map(), torn: false }
    }
    try {
      const slots = await readSlots(existing)
      await fillUp(existing).catch((error: unknown) => {
        // A cut file on a full disk is no reason not to start; the next write tells whether it can
        // be written.
        if (!isFull(error)) throw error
      })
      const newest = slots.toSorted((a, b) => b.generation - a.generation)[0]
      const torn = slots.length < SLOTS.length
      if (newest === undefined) {
        return { lease: new SeqLease(existing, 1, 2), state: 'damaged', ends: new Map(), torn }
      }
      const lease = new SeqLease(existing, newest.number, newest.generation)
      return { lease, state: 'ok', ends: newest.ends, torn }
    } catch (error) {
      await existing.close()
      throw error
    }
  }

  /**
   * Replaces the whole lease. Durable when it resolves; after an error the lease before is still
   * the one on disk, or this one is: deal no seq under it, try again. Keys are
   * `<spoolId>/<stream>`.
   *
   * @throws RangeError for more than {@link MAX_LEASED_STREAMS}, or a key that is too long
   */
  async write(ends: ReadonlyMap<string, number>): Promise<void> {
    const payload = encodeEnds(ends)
    const turn = this.#last.then(() => this.#write(payload))
    this.#last = turn.catch(() => undefined)
    return turn
  }

  /** After the writes that were begun. */
  async close(): Promise<void> {
    await this.#last
    await this.#file.close()
  }

  async #write(payload: Buffer): Promise<void> {
    const target: SlotNumber = this.#current === 0 ? 1 : 0
    const generation = this.#generation + 1
    await writeSlot(this.#file, target, generation, payload)
    // Only now: after an error the next try must go to the same slot, the other one is the good
    // one.
    this.#current = target
    this.#generation = generation
  }
}

async function openExisting(path: string): Promise<FileHandle | null> {
  try {
    return await open(path, 'r+')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null
    throw error
  }
}

/**
 * Both slots valid and empty from the start: a slot that is not readable later was torn or damaged.
 */
async function create(path: string): Promise<FileHandle> {
  const unfinished = `${path}.new`
  const file = await open(unfinished, 'w+', 0o600)
  try {
    await fillUp(file)
    const empty = encodeEnds(new Map())
    await writeSlot(file, 0, 1, empty)
    await writeSlot(file, 1, 2, empty)
    await rename(unfinished, path)
    await syncFolder(dirname(path))
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Real bytes up to the full size: later writes allocate nothing. */
async function fillUp(file: FileHandle): Promise<void> {
  const wanted = SLOTS.length * SLOT_BYTES
  const { size } = await file.stat()
  if (size >= wanted) return
  await writeAll(file, Buffer.alloc(wanted - size, 0xff), size)
  await file.sync()
}

async function writeSlot(
  file: FileHandle,
  slot: SlotNumber,
  generation: number,
  payload: Buffer,
): Promise<void> {
  const bytes = Buffer.alloc(HEADER_BYTES + payload.length)
  bytes.writeUInt32LE(MAGIC, 0)
  bytes[4] = FORMAT_VERSION
  bytes.writeBigUInt64LE(BigInt(generation), 8)
  bytes.writeUInt32LE(payload.length, 16)
  payload.copy(bytes, HEADER_BYTES)
  bytes.writeUInt32LE(slotCrc(bytes), CRC_AT)
  await writeAll(file, bytes, slot * SLOT_BYTES)
  await file.sync()
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}

function slotCrc(bytes: Buffer): number {
  return crc32(bytes.subarray(HEADER_BYTES), crc32(bytes.subarray(0, CRC_AT)))
}

/** The readable ones. */
async function readSlots(file: FileHandle): Promise<Slot[]> {
  const slots: Slot[] = []
  for (const number of SLOTS) {
    const bytes = Buffer.alloc(SLOT_BYTES)
    // The memory behind what a short file gives is zeros, and fails the CRC.
    for (let done = 0; done < SLOT_BYTES; ) {
      const { bytesRead } = await file.read(
        bytes,
        done,
        SLOT_BYTES - done,
        number * SLOT_BYTES + done,
      )
      if (bytesRead === 0) break
      done += bytesRead
    }
    const slot = decodeSlot(number, bytes)
    if (slot !== null) slots.push(slot)
  }
  return slots
}

function decodeSlot(number: SlotNumber, bytes: Buffer): Slot | null {
  if (bytes.readUInt32LE(0) !== MAGIC || bytes[4] !== FORMAT_VERSION) return null
  const length = bytes.readUInt32LE(16)
  if (length < 2 || length > MAX_PAYLOAD_BYTES) return null
  const used = bytes.subarray(0, HEADER_BYTES + length)
  if (used.readUInt32LE(CRC_AT) !== slotCrc(used)) return null
  return {
    number,
    generation: Number(used.readBigUInt64LE(8)),
    ends: decodeEnds(used.subarray(HEADER_BYTES)),
  }
}

function encodeEnds(ends: ReadonlyMap<string, number>): Buffer {
  if (ends.size > MAX_LEASED_STREAMS)
    throw new RangeError(`${ends.size} streams, at most ${MAX_LEASED_STREAMS}`)
  const payload = Buffer.alloc(MAX_PAYLOAD_BYTES)
  let at = payload.writeUInt16LE(ends.size, 0)
  for (const [key, end] of ends) {
    const keyBytes = Buffer.byteLength(key)
    if (keyBytes > MAX_LEASE_KEY_BYTES) throw new RangeError(`lease key of ${keyBytes} bytes`)
    if (!Number.isSafeInteger(end) || end < 0) throw new RangeError(`lease end ${end}`)
    at = payload.writeUInt8(keyBytes, at)
    at += payload.write(key, at)
    at = payload.writeBigUInt64LE(BigInt(end), at)
  }
  return payload.subarray(0, at)
}

/** Only behind a CRC that was right: what it says is what we wrote. */
function decodeEnds(payload: Buffer): Map<string, number> {
  const ends = new Map<string, number>()
  let at = 2
  for (let left = payload.readUInt16LE(0); left > 0; left -= 1) {
    const keyBytes = payload[at] as number
    const key = payload.toString('utf8', at + 1, at + 1 + keyBytes)
    at += 1 + keyBytes
    ends.set(key, Number(payload.readBigUInt64LE(at)))
    at += 8
  }
  return ends
}
