import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { crc32c } from '../../../gateway/shared/crc32c.ts'
import {
  type Manifest,
  ManifestDamagedError,
  parseManifest,
  withoutLastChange,
} from '../../../gateway/spool/leveldb/manifest.ts'
import { tempFolders } from '../disk/temp-folder.ts'
import { namesOf, writeKilledDatabase } from './database.ts'

const tempFolder = tempFolders()
let bytes: Buffer
let manifest: Manifest
let tableSizes: Map<number, number>
let logs: number[]

beforeAll(async () => {
  const folder = await tempFolder()
  const dbDir = join(folder, 'db')
  await writeKilledDatabase(dbDir, join(folder, 'work'))
  const current = (await readFile(join(dbDir, 'CURRENT'), 'latin1')).trim()
  bytes = await readFile(join(dbDir, current))
  manifest = parseManifest(bytes)
  tableSizes = new Map()
  for (const name of await namesOf(dbDir, /ldb$/)) {
    tableSizes.set(Number.parseInt(name, 10), (await stat(join(dbDir, name))).size)
  }
  logs = (await namesOf(dbDir, /log$/)).map((name) => Number.parseInt(name, 10))
})

describe('crc32c', () => {
  it('gives the check value of RFC 3720 and the CRC catalogue', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
  })
})

describe('withoutLastChange', () => {
  it('goes back change by change, to the first that says where to go on', () => {
    let before: Uint8Array = bytes
    let changes = 0
    for (;;) {
      const earlier = withoutLastChange(before)
      if (earlier === null) break
      expect(earlier.bytes.length).toBeLessThan(before.length)
      expect(parseManifest(earlier.bytes).torn).toBe(false)
      expect(earlier.manifest).toEqual(parseManifest(earlier.bytes))
      before = earlier.bytes
      changes += 1
    }
    expect(changes).toBeGreaterThan(3)
    expect(before.length).toBeGreaterThan(0)
  })

  it('leaves what is torn behind the last change out as well', () => {
    const torn = Buffer.concat([bytes, bytes.subarray(0, 10)])
    expect(withoutLastChange(torn)).toEqual(withoutLastChange(bytes))
  })
})

describe('parseManifest', () => {
  it('names the tables of a real database with their sizes, and its log', () => {
    expect(manifest.tables.size).toBeGreaterThan(3)
    for (const [number, size] of manifest.tables) expect(tableSizes.get(number)).toBe(size)
    expect(logs).toContain(manifest.logNumber)
    expect(manifest.nextFileNumber).toBeGreaterThan(Math.max(...manifest.tables.keys()))
    expect(manifest.torn).toBe(false)
  })

  it('takes a file that ends anywhere for one that was torn, or for damaged, or for an older whole one', () => {
    let torn = 0
    for (let end = 0; end < bytes.length; end += 1) {
      try {
        const cut = parseManifest(bytes.subarray(0, end))
        if (cut.torn) torn += 1
        expect(cut.nextFileNumber).toBeLessThanOrEqual(manifest.nextFileNumber)
      } catch (error) {
        expect(error).toBeInstanceOf(ManifestDamagedError)
      }
    }
    expect(torn).toBeGreaterThan(bytes.length / 2)
  })

  it('never takes a file with a changed byte for the whole one', () => {
    for (let at = 0; at < bytes.length; at += 1) {
      const damaged = Buffer.from(bytes)
      damaged[at] = (damaged[at] as number) ^ 0x55
      try {
        // A changed length may reach beyond the end, and then it looks like a torn one.
        expect(parseManifest(damaged).torn, `byte ${at}`).toBe(true)
      } catch (error) {
        expect(error).toBeInstanceOf(ManifestDamagedError)
      }
    }
  })
})
