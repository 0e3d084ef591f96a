/**
 * A backup of a spool: every key of the store as of one commit, in one file that can be checked,
 * made beside a running gateway. It holds no lease and no place, so that a spool that is made of it
 * goes on under a fresh spool id (I4).
 *
 *   head: one line of JSON | entries: key length u32, value length u32, key, value | ffffffff, entries u32, CRC-32 u32
 *
 * Numbers are little endian; the CRC covers everything before it.
 */
import { createReadStream } from 'node:fs'
import { lchown, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { syncFolder } from '../../shared/files.ts'
import { makeDurableFolder } from '../disk/folder.ts'
import { takeBriefly } from '../disk/owner.ts'
import { checkFormat } from '../format.ts'
import { type Op, openStore, type Store } from '../store/store.ts'

const BACKUP_VERSION = 1
const END = 0xffff_ffff
const NUMBER_BYTES = 4
/** Of one write of a restore. */
const BATCH_BYTES = 1024 * 1024
const MAX_HEAD_BYTES = 1024 * 1024

interface BackupHead {
  readonly sluiceBackup: number
  /** Of the spool; see format.ts. */
  readonly format: number
  readonly gateway: string
  readonly spoolId: string
  /** RFC 3339. */
  readonly at: string
  readonly streams: ReadonlyArray<{
    readonly name: string
    readonly received: number
    readonly pending: number
  }>
}

export function pendingIn({ streams }: BackupHead): number {
  return streams.reduce((records, { pending }) => records + pending, 0)
}

/** The file's bytes. The store is read as it is when this begins, whatever is written meanwhile. */
export async function* backupBytes(
  store: Store,
  head: Omit<BackupHead, 'sluiceBackup'>,
): AsyncGenerator<Buffer> {
  const first = Buffer.from(`${JSON.stringify({ sluiceBackup: BACKUP_VERSION, ...head })}\n`)
  let crc = crc32(first)
  yield first
  let entries = 0
  for await (const [key, value] of store.entries({ gte: Buffer.of(0), lt: Buffer.of(0xff) })) {
    const lengths = Buffer.alloc(2 * NUMBER_BYTES)
    lengths.writeUInt32LE(key.length, 0)
    lengths.writeUInt32LE(value.length, NUMBER_BYTES)
    const entry = Buffer.concat([lengths, key, value])
    crc = crc32(entry, crc)
    entries += 1
    yield entry
  }
  const end = Buffer.alloc(3 * NUMBER_BYTES)
  end.writeUInt32LE(END, 0)
  end.writeUInt32LE(entries, NUMBER_BYTES)
  end.writeUInt32LE(crc32(end.subarray(0, 2 * NUMBER_BYTES), crc), 2 * NUMBER_BYTES)
  yield end
}

class BackupError extends Error {
  readonly code = 'SLUICE_BACKUP'

  constructor(message: string) {
    super(message)
    this.name = 'BackupError'
  }
}

/**
 * Reads a backup to its end and checks it; `take` gets each entry. @throws BackupError if it is
 * none, or not whole: what `take` got counts for nothing then
 */
export async function readBackup(
  path: string,
  take: (key: Buffer, value: Buffer) => Promise<void> | void,
): Promise<{ readonly head: BackupHead; readonly entries: number }> {
  const reader = new FileReader(path)
  const line = await reader.line()
  let head: BackupHead
  try {
    head = JSON.parse(line) as BackupHead
  } catch {
    throw new BackupError(`${path} is no backup of a Sluice spool`)
  }
  if (typeof head?.sluiceBackup !== 'number')
    throw new BackupError(`${path} is no backup of a Sluice spool`)
  if (head.sluiceBackup > BACKUP_VERSION)
    throw new BackupError(
      `${path} was written by a newer version of Sluice: restore it with that one`,
    )
  checkFormat(path, head.format)
  for (let entries = 0; ; entries += 1) {
    const keyLength = (await reader.take(NUMBER_BYTES)).readUInt32LE(0)
    const valueLength = (await reader.take(NUMBER_BYTES)).readUInt32LE(0)
    if (keyLength === END) {
      const { crc } = reader
      const isWhole =
        (await reader.take(NUMBER_BYTES)).readUInt32LE(0) === crc && valueLength === entries
      if (!isWhole) throw new BackupError(`${path} is damaged: its checksum is wrong`)
      return { head, entries }
    }
    await take(await reader.take(keyLength), await reader.take(valueLength))
  }
}

class FileReader {
  readonly #path: string
  readonly #chunks: AsyncIterator<Buffer>
  #rest: Buffer = Buffer.alloc(0)
  crc = 0

  constructor(path: string) {
    this.#path = path
    this.#chunks = createReadStream(path, { highWaterMark: BATCH_BYTES })[
      Symbol.asyncIterator
    ]() as AsyncIterator<Buffer>
  }

  async take(bytes: number): Promise<Buffer> {
    const parts = [this.#rest]
    let have = this.#rest.length
    while (have < bytes) {
      const { value, done } = await this.#chunks.next()
      if (done === true) throw new BackupError(`${this.#path} is not whole: it ends too early`)
      parts.push(value)
      have += value.length
    }
    const all = parts.length === 1 ? this.#rest : Buffer.concat(parts)
    this.#rest = all.subarray(bytes)
    const taken = all.subarray(0, bytes)
    this.crc = crc32(taken, this.crc)
    return taken
  }

  async line(): Promise<string> {
    for (let bytes = 1; bytes <= MAX_HEAD_BYTES; bytes *= 2) {
      if (this.#rest.length < bytes) {
        const { value, done } = await this.#chunks.next()
        if (done !== true) this.#rest = Buffer.concat([this.#rest, value])
      }
      const end = this.#rest.indexOf(0x0a)
      if (end >= 0) return (await this.take(end + 1)).toString('utf8')
    }
    throw new BackupError(`${this.#path} is no backup of a Sluice spool`)
  }
}

interface Restored {
  readonly head: BackupHead
  /** Where what was there before lies now; null: there was nothing. */
  readonly movedTo: string | null
}

/** What of a data folder belongs to its spool. */
const SPOOL_NAMES = ['spool', 'seq-lease', 'place', 'clean-stop', 'aside']

/**
 * Makes the spool of a stopped gateway of a backup, which is checked first. What is there is moved
 * aside, never deleted, and only if
 * `replace` says so.
 *
 * @throws BackupError if the file is not whole, or if a spool is there and `replace` is false
 */
export async function restoreBackup(
  path: string,
  dataDir: string,
  replace: boolean,
): Promise<Restored> {
  await readBackup(path, () => undefined)
  await makeDurableFolder(dataDir)
  const owner = await takeBriefly(dataDir)
  try {
    const present = (await readdir(dataDir)).filter((name) => SPOOL_NAMES.includes(name))
    if (present.includes('spool') && !replace) {
      throw new BackupError(
        `${dataDir} holds a spool already; nothing was changed. With --replace it is moved aside within that folder`,
      )
    }
    const making = join(dataDir, 'restoring')
    await rm(making, { recursive: true, force: true })
    await mkdir(making)
    const head = await fill(path, join(making, 'spool'))
    let movedTo: string | null = null
    if (present.length > 0) {
      movedTo = join(dataDir, `before-restore-${Date.now()}`)
      await mkdir(movedTo)
      for (const name of present) await rename(join(dataDir, name), join(movedTo, name))
      await syncFolder(movedTo)
    }
    await rename(join(making, 'spool'), join(dataDir, 'spool'))
    await rm(making, { recursive: true })
    await syncFolder(dataDir)
    return { head, movedTo }
  } finally {
    await owner.release()
    await giveToUserOf(dataDir)
  }
}

/**
 * What root made in the folder of another user would lock out the gateway, which runs as that one.
 * Given away at the end: the backup itself may be root's alone to read.
 */
async function giveToUserOf(dataDir: string): Promise<void> {
  const { uid, gid } = await stat(dataDir)
  if (process.geteuid?.() !== 0 || uid === 0) return
  for (const name of await readdir(dataDir, { recursive: true }))
    await lchown(join(dataDir, name), uid, gid)
}

async function fill(path: string, dbDir: string): Promise<BackupHead> {
  const store = await openStore(dbDir, { create: true })
  try {
    let ops: Op[] = []
    let bytes = 0
    const { head } = await readBackup(path, async (key, value) => {
      ops.push({ type: 'put', key, value })
      bytes += key.length + value.length
      if (bytes < BATCH_BYTES) return
      await store.write(ops)
      ops = []
      bytes = 0
    })
    if (ops.length > 0) await store.write(ops)
    return head
  } finally {
    await store.close()
  }
}
