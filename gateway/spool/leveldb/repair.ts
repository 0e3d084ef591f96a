/**
 * Makes a folder of tables and logs one that LevelDB opens, whatever state they and its MANIFEST
 * are in (I7): a table or log that is whole stays, of a damaged one stays what is whole, and a new
 * MANIFEST names the tables. LevelDB replays the logs itself when it opens the folder. What is left
 * out is in the aside, where the raw scan finds the values.
 *
 * LevelDB's own repair is not asked. It looks at no checksum: a block that was damaged can end the
 * process, and a log record that was damaged gives keys that nobody wrote. And where it fails to
 * read a table once and can read it the second time, it lists the table without its keys, which
 * ends the process (an assertion), or with some of them, which hides the others. Here an error of
 * the disk is the caller's: nothing is listed then.
 *
 * Sources: leveldb 1.20, db/repair.cc, db/version_edit.cc, db/write_batch.cc, db/db_impl.cc
 * (Recover).
 */

import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errorCode } from '../../shared/errors.ts'
import { unlessGone } from '../../shared/files.ts'
import { replaceFile } from '../disk/folder.ts'
import {
  type DatabaseFile,
  fileName,
  listDatabaseFiles,
  manifestName,
  UNFINISHED_FILE,
} from './database-files.ts'
import { cleanLogBytes, logOf } from './log-records.ts'
import { type ListedTable, newManifest } from './manifest.ts'
import { type TableEntry, tableExtent, wholeEntries } from './table-check.ts'
import { varint } from './varint.ts'

/** @throws what the disk answers; the folder can be given to it again then. */
export async function repairFolder(dbDir: string): Promise<void> {
  const files = await listDatabaseFiles(dbDir)
  // By number: LevelDB knows a table under either of its two endings.
  const tables = new Map<number, ListedTable>()
  for (const file of files) {
    const path = join(dbDir, file.name)
    if (file.kind === 'log') await cleanLog(path, file)
    if (file.kind !== 'table' || tables.has(file.number)) continue
    const extent = await tableExtent(path)
    if (extent === null) await replaceByLog(path, file)
    else tables.set(file.number, { ...extent, number: file.number })
  }
  // Above all others, so that LevelDB deletes the MANIFESTs of before, and deals no number twice.
  const number = 1 + files.reduce((highest, { number }) => Math.max(highest, number), 0)
  const name = manifestName(number)
  const unfinished = join(dbDir, UNFINISHED_FILE)
  await replaceFile(join(dbDir, name), unfinished, newManifest([...tables.values()], number + 1))
  await replaceFile(join(dbDir, 'CURRENT'), unfinished, Buffer.from(`${name}\n`))
}

/**
 * A damaged table goes; what is whole in it becomes a log, in which entries keep their sequence
 * numbers.
 */
async function replaceByLog(path: string, { number }: DatabaseFile): Promise<void> {
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

async function cleanLog(path: string, { name }: DatabaseFile): Promise<void> {
  const bytes = await unlessGone(readFile(path), null)
  const clean = bytes && cleanLogBytes(bytes)
  if (clean && bytes && clean.equals(bytes)) return
  // A new file: the aside has a link of the old one.
  if (clean) await writeFile(`${path}.clean`, clean)
  await rm(path, { force: true })
  if (clean) await rename(`${path}.clean`, join(dirname(path), name))
}
