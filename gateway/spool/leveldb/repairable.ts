/**
 * What LevelDB's repair must not see (I7). It reads tables and logs without looking at checksums: a
 * block that was damaged can end the process, and a log record that was damaged gives keys that
 * nobody wrote. Such blocks leave their table, such records their log; the aside has them, and the
 * raw scan finds the values in them.
 *
 * Sources: leveldb 1.20, db/repair.cc, db/write_batch.cc.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errorCode } from '../../shared/errors.ts'
import { unlessGone } from '../disk/folder.ts'
import { type DatabaseFile, fileName, listDatabaseFiles } from './database-files.ts'
import { cleanLogBytes, logOf } from './log-records.ts'
import { type TableEntry, tableFault, wholeEntries } from './table-check.ts'

/** Before LevelDB's repair of the folder. */
export async function makeRepairable(dbDir: string): Promise<void> {
  for (const file of await listDatabaseFiles(dbDir)) {
    const path = join(dbDir, file.name)
    if (file.kind === 'table') await cleanTable(path, file)
    if (file.kind === 'log') await cleanLog(path, file)
  }
}

/**
 * A damaged table goes; what is whole in it becomes a log, in which entries keep their sequence
 * numbers.
 */
async function cleanTable(path: string, { number }: DatabaseFile): Promise<void> {
  if ((await tableFault(path, true)) === null) return
  const entries = await wholeEntries(path)
  await rm(path, { force: true })
  const log = join(dirname(path), fileName(number, 'log'))
  // 'wx': a log of this number is another one.
  if (entries.length > 0)
    await writeFile(log, logOf(entries.map(batchOf)), { flag: 'wx' }).catch(unlessThere)
}

function unlessThere(error: unknown): void {
  if (errorCode(error) !== 'EEXIST') throw error
}

/** As in db/write_batch.cc: sequence, count, then type, key and value of the one entry. */
function batchOf({ sequence, isDeletion, userKey, value }: TableEntry): Buffer {
  const head = Buffer.alloc(13)
  head.writeBigUInt64LE(sequence, 0)
  head.writeUInt32LE(1, 8)
  head[12] = isDeletion ? 0 : 1
  const parts = [head, varint(userKey.length), userKey]
  return Buffer.concat(isDeletion ? parts : [...parts, varint(value.length), value])
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 0x80)
  return Buffer.from([...bytes, rest])
}

async function cleanLog(path: string, { name }: DatabaseFile): Promise<void> {
  const bytes = await unlessGone(readFile(path), null)
  const clean = bytes && cleanLogBytes(bytes)
  if (clean && bytes && clean.equals(bytes)) return
  // A new file: the aside has a link of the old one.
  if (clean) await writeFile(`${path}.clean`, clean)
  await rm(path, { force: true })
  if (clean) await rename(`${path}.clean`, join(dirname(path), name))
}
