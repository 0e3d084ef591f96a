import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { parseManifest } from '../../../gateway/spool/leveldb/manifest.ts'
import { repairFolder } from '../../../gateway/spool/leveldb/repair.ts'
import { tempFolders } from '../disk/temp-folder.ts'
import { ALL_BLOCKS, namesOf, openDatabase, readBlocks, writeKilledDatabase } from './database.ts'

const tempFolder = tempFolders()

let dbDir: string
beforeEach(async () => {
  const folder = await tempFolder()
  dbDir = join(folder, 'db')
  await writeKilledDatabase(dbDir, join(folder, 'work'))
})

async function currentManifest(): Promise<{ name: string; bytes: Buffer }> {
  const name = (await readFile(join(dbDir, 'CURRENT'), 'latin1')).trim()
  return { name, bytes: await readFile(join(dbDir, name)) }
}

async function sizesOfTables(): Promise<Map<number, number>> {
  const sizes = new Map<number, number>()
  for (const name of await namesOf(dbDir, /ldb$/))
    sizes.set(Number.parseInt(name, 10), (await stat(join(dbDir, name))).size)
  return sizes
}

describe('repairFolder', () => {
  it('I7: names every whole table as it is, in a MANIFEST behind all other files', async () => {
    const sizes = await sizesOfTables()
    const before = await currentManifest()
    await rm(join(dbDir, 'CURRENT'))
    await repairFolder(dbDir)
    const { name, bytes } = await currentManifest()
    expect(name > before.name).toBe(true)
    const { tables, logNumber, nextFileNumber, torn } = parseManifest(bytes)
    expect(tables).toEqual(sizes)
    expect({ logNumber, torn }).toEqual({ logNumber: 0, torn: false })
    expect(nextFileNumber).toBeGreaterThan(Number(name.slice('MANIFEST-'.length)))
    expect(await readBlocks(dbDir)).toEqual(ALL_BLOCKS)
    expect(await namesOf(dbDir, /^MANIFEST/), 'the old one').not.toContain(before.name)
  })

  it('I7: what is written over a repaired folder is newer than all that was found in it', async () => {
    await rm(join(dbDir, 'CURRENT'))
    // The tables alone: LevelDB learns from logs how far the numbers of writes have come.
    for (const log of await namesOf(dbDir, /log$/)) await rm(join(dbDir, log))
    await repairFolder(dbDir)
    const db = await openDatabase(dbDir)
    const [key, old] = (await db.iterator({ limit: 1 }).all())[0] as [string, Buffer]
    await db.put(key, Buffer.from('new'))
    expect(await db.get(key)).not.toEqual(old)
    await db.compactRange('a', 'z')
    expect(await db.get(key)).toEqual(Buffer.from('new'))
    await db.close()
  })

  it('I7: of a damaged table stays what is whole, and an empty folder is an empty store', async () => {
    const table = (await namesOf(dbDir, /ldb$/))[0] as string
    const bytes = await readFile(join(dbDir, table))
    bytes[100] = (bytes[100] as number) ^ 0xff
    await writeFile(join(dbDir, table), bytes)
    await repairFolder(dbDir)
    const found = await readBlocks(dbDir)
    expect(found.length).toBeGreaterThan(ALL_BLOCKS.length - 4)
    expect(found.length).toBeLessThan(ALL_BLOCKS.length)

    for (const name of await namesOf(dbDir, /./)) await rm(join(dbDir, name))
    await repairFolder(dbDir)
    expect(await readBlocks(dbDir)).toEqual([])
  })
})
