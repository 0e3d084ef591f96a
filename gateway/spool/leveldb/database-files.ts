/**
 * The files of a LevelDB folder by kind, and what their names and the MANIFEST say about the state
 * of the database, found out without opening it (I7). Changes nothing. Source of the names: leveldb
 * 1.20, db/filename.cc.
 */

import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { unlessGone } from '../../shared/files.ts'
import { cleanLogBytes } from './log-records.ts'
import {
  type Manifest,
  ManifestDamagedError,
  parseManifest,
  withoutLastChange,
} from './manifest.ts'
import { tableFault } from './table-check.ts'

export type FileKind = 'table' | 'log' | 'manifest' | 'current'

export interface DatabaseFile {
  readonly name: string
  readonly kind: FileKind
  /** 0 for CURRENT. */
  readonly number: number
}

/**
 * The files that hold data or say where it is; LOCK, LOG and temporary files are none. A missing
 * folder has none.
 */
export async function listDatabaseFiles(dbDir: string): Promise<DatabaseFile[]> {
  const entries = await unlessGone(readdir(dbDir, { withFileTypes: true }), [])
  return entries
    .flatMap((entry) => (entry.isDirectory() ? [] : (databaseFile(entry.name) ?? [])))
    .toSorted((a, b) => a.number - b.number)
}

/**
 * What is no file under names that LevelDB wants for files: a folder, a pipe, a socket. Nothing of
 * ours makes them; LevelDB would not open, and whoever opens a pipe waits for its writer.
 */
export async function listStrays(dbDir: string): Promise<string[]> {
  const entries = await unlessGone(readdir(dbDir, { withFileTypes: true }), [])
  return entries
    .filter((entry) => !(entry.isFile() || entry.isSymbolicLink()))
    .map((entry) => entry.name)
    .filter((name) => databaseFile(name) !== null || OTHER_NAMES.test(name))
}

/** LevelDB's own kind of name: what a crash leaves of it goes with the next opening. */
export const UNFINISHED_FILE = '000000.dbtmp'

/** LevelDB's files without data. */
const OTHER_NAMES = /^(?:LOCK|LOG|LOG\.old|\d+\.dbtmp)$/

function databaseFile(name: string): DatabaseFile | null {
  if (name === 'CURRENT') return { name, kind: 'current', number: 0 }
  const manifest = /^MANIFEST-(\d+)$/.exec(name)
  if (manifest !== null) return { name, kind: 'manifest', number: Number(manifest[1]) }
  const numbered = /^(\d+)\.(ldb|sst|log)$/.exec(name)
  if (numbered === null) return null
  return { name, kind: numbered[2] === 'log' ? 'log' : 'table', number: Number(numbered[1]) }
}

interface Diagnosis {
  /** `open`: LevelDB can open it. `repair`: it would refuse, or lose what repair can find. */
  readonly mode: 'open' | 'repair'
  /** What is wrong, in words for an operator; empty if nothing is. */
  readonly faults: readonly string[]
  /**
   * What LevelDB would delete at opening, because its MANIFEST does not name it. Only with mode
   * `open`.
   */
  readonly unnamed: readonly string[]
  /** Tables that the MANIFEST names and that are not whole, or that a log which is gone went into. */
  readonly damagedTables: readonly string[]
  /** The MANIFEST as it is to be before LevelDB opens the folder; null: as it is. */
  readonly manifest: NewManifest | null
}

export interface NewManifest {
  readonly name: string
  readonly bytes: Uint8Array
}

/**
 * The newest tables of this size in all are read whole: what a power cut can have hit, and a
 * quarter of a second.
 */
const NEWEST_BYTES = 64 * 1024 * 1024
/** Behind a clean stop all were fsynced: a look at a few, for a disk that lies. */
const NEWEST_CLEAN_BYTES = 8 * 1024 * 1024
/** Tables that are looked at side by side: one is read while another's checksums are taken. */
const TABLES_AT_A_TIME = 8

interface DiagnoseOptions {
  /** Its logs have no torn end. */
  readonly afterCleanStop: boolean
  /**
   * Something is wrong, or the process died before an earlier opening was verified: no table is
   * trusted.
   */
  readonly allTables: boolean
  /** @default 64 MiB, behind a clean stop 8 MiB */
  readonly newestBytes?: number
}

/**
 * `files`: all of the folder, at least one. Of the tables the newest are read whole, which a power cut can have hit. To read
 * all takes two seconds per GiB and the disk's time, so that the rest is verified in the
 * background; if LevelDB ends the process over it meanwhile, the next opening is one with
 * `allTables`.
 */
export async function diagnose(
  dbDir: string,
  files: readonly DatabaseFile[],
  options: DiagnoseOptions,
): Promise<Diagnosis> {
  const read = await readManifest(dbDir, files)
  if (typeof read === 'string')
    return { mode: 'repair', faults: [read], unnamed: [], damagedTables: [], manifest: null }
  const { name } = read
  const undone = options.afterCleanStop ? null : beforeLastChange(files, read)
  const { manifest } = undone ?? read
  const damaged = await tableFaults(dbDir, files, manifest, options)
  const faults = damaged.map(({ fault }) => fault)
  const unnamed = unnamedFiles(files, name, manifest)
  let mode: Diagnosis['mode'] = faults.length > 0 ? 'repair' : 'open'
  const isLogMissing = logIsMissing(files, manifest)
  if (isLogMissing) {
    faults.push(
      `the log ${fileName(manifest.logNumber, 'log')} is gone, which LevelDB does not notice`,
    )
    // A MANIFEST that lost its end names an old log, and its newest tables are not in it: repair
    // finds them.
    if (files.some((file) => file.kind === 'table' && !manifest.tables.has(file.number)))
      mode = 'repair'
  }
  if (options.afterCleanStop) faults.push(...(await logFaults(dbDir, files, manifest)))
  const isOpened = mode === 'open'
  // A table that was being written when the process was killed holds what its log holds, and now
  // holds it alone.
  const unfinished = isLogMissing ? unnamed.filter((name) => /\.(?:ldb|sst)$/.test(name)) : []
  return {
    mode,
    faults,
    unnamed: isOpened ? unnamed : [],
    damagedTables: [...damaged.flatMap(({ name }) => name ?? []), ...unfinished],
    manifest: isOpened && undone ? { name, bytes: undone.bytes } : null,
  }
}

/**
 * LevelDB hands a change of the MANIFEST to the system first, and fsyncs the names of the tables in
 * it then: a power cut in between may leave the change without its tables. What the tables were
 * made from is still there, so that the change is undone and nothing is missing. null: all tables
 * are there, or it is not that.
 */
function beforeLastChange(
  files: readonly DatabaseFile[],
  { manifest, bytes }: { readonly manifest: Manifest; readonly bytes: Uint8Array },
): ReturnType<typeof withoutLastChange> {
  const numbers = new Set(files.filter(({ kind }) => kind === 'table').map(({ number }) => number))
  const hasTables = ({ tables }: Manifest): boolean =>
    [...tables.keys()].every((number) => numbers.has(number))
  const before = hasTables(manifest) ? null : withoutLastChange(bytes)
  return before && hasTables(before.manifest) && !logIsMissing(files, before.manifest)
    ? before
    : null
}

/** The MANIFEST that CURRENT names, or what is wrong. */
async function readManifest(
  dbDir: string,
  files: readonly DatabaseFile[],
): Promise<{ name: string; manifest: Manifest; bytes: Buffer } | string> {
  if (!files.some((file) => file.kind === 'current')) return 'CURRENT is gone'
  const current = await unlessGone(readFile(join(dbDir, 'CURRENT'), 'latin1'), null)
  if (current === null) return 'CURRENT is gone'
  const name = /^(MANIFEST-\d+)\n$/.exec(current)?.[1]
  if (name === undefined) return 'CURRENT names no MANIFEST'
  if (!files.some((file) => file.name === name)) return `CURRENT names ${name}, which is gone`
  const bytes = await unlessGone(readFile(join(dbDir, name)), null)
  if (bytes === null) return `CURRENT names ${name}, which is gone`
  try {
    return { name, manifest: parseManifest(bytes), bytes }
  } catch (error) {
    if (error instanceof ManifestDamagedError) return `${name}: ${error.message}`
    throw error
  }
}

async function tableFaults(
  dbDir: string,
  files: readonly DatabaseFile[],
  manifest: Manifest,
  { allTables, afterCleanStop, newestBytes }: DiagnoseOptions,
): Promise<TableFault[]> {
  const limit = newestBytes ?? (afterCleanStop ? NEWEST_CLEAN_BYTES : NEWEST_BYTES)
  const names = new Map(
    files.filter(({ kind }) => kind === 'table').map(({ name, number }) => [number, name]),
  )
  let readBytes = 0
  const tables = [...manifest.tables]
    .toSorted(([a], [b]) => b - a)
    .map(([number, bytes]) => {
      readBytes += bytes
      return { name: names.get(number), number, bytes, deep: allTables || readBytes <= limit }
    })
  const faults: TableFault[] = []
  while (tables.length > 0) {
    const some = tables
      .splice(0, TABLES_AT_A_TIME)
      .map(async ({ name, number, bytes, deep }): Promise<TableFault | null> => {
        const stats = name === undefined ? null : await unlessGone(stat(join(dbDir, name)), null)
        if (name === undefined || stats === null)
          return { name: null, fault: `the table ${fileName(number, 'ldb')} is gone` }
        if (stats.size !== bytes)
          return { name, fault: `the table ${name} has ${stats.size} bytes instead of ${bytes}` }
        const fault = await tableFault(join(dbDir, name), deep)
        return fault === null ? null : { name, fault: `the table ${name} is damaged: ${fault}` }
      })
    faults.push(...(await Promise.all(some)).filter((fault) => fault !== null))
  }
  return faults
}

interface TableFault {
  /** null: it is gone. */
  readonly name: string | null
  readonly fault: string
}

/** A log that a killed process left may end anywhere; one of a clean stop is whole. */
async function logFaults(
  dbDir: string,
  files: readonly DatabaseFile[],
  { logNumber }: Manifest,
): Promise<string[]> {
  const faults: string[] = []
  for (const { name, kind, number } of files) {
    if (kind !== 'log' || number < logNumber) continue
    const bytes = await unlessGone(readFile(join(dbDir, name)), null)
    if (bytes === null || !cleanLogBytes(bytes).equals(bytes))
      faults.push(`the log ${name} is damaged`)
  }
  return faults
}

/**
 * LevelDB creates a log before it notes its number, both durably, and deletes it only when a newer
 * one is noted: the noted log is always there.
 */
function logIsMissing(files: readonly DatabaseFile[], manifest: Manifest): boolean {
  if (manifest.logNumber === 0) return false
  return !files.some((file) => file.kind === 'log' && file.number === manifest.logNumber)
}

/** As DeleteObsoleteFiles in leveldb 1.20, db/db_impl.cc. */
function unnamedFiles(
  files: readonly DatabaseFile[],
  current: string,
  manifest: Manifest,
): string[] {
  return files
    .filter(({ kind, name, number }) => {
      if (kind === 'current') return false
      if (kind === 'manifest') return name !== current
      if (kind === 'table') return !manifest.tables.has(number)
      return number < manifest.logNumber && number !== manifest.previousLogNumber
    })
    .map(({ name }) => name)
}

export function fileName(number: number, ending: string): string {
  return `${padded(number)}.${ending}`
}

export function manifestName(number: number): string {
  return `MANIFEST-${padded(number)}`
}

function padded(number: number): string {
  return String(number).padStart(6, '0')
}
