import { existsSync } from 'node:fs'
import type * as FsPromises from 'node:fs/promises'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { clearClean, markClean, wasClean } from '../../../gateway/spool/disk/clean-stop.ts'
import { diagnose, listDatabaseFiles } from '../../../gateway/spool/leveldb/database-files.ts'
import { dropAside, keepAside } from '../../../gateway/spool/leveldb/kept-asides.ts'
import { logOf } from '../../../gateway/spool/leveldb/log-records.ts'
import { parseManifest } from '../../../gateway/spool/leveldb/manifest.ts'
import {
  MAX_UNFINISHED_ASIDES,
  type OpeningPlan,
  prepareOpening,
  undoOpening,
} from '../../../gateway/spool/leveldb/opening-plan.ts'
import { dropSalvage, salvageDatabase } from '../../../gateway/spool/leveldb/put-aside.ts'
import { repairFolder } from '../../../gateway/spool/leveldb/repair.ts'
import { openStore } from '../../../gateway/spool/store/store.ts'
import { tempFolders } from '../disk/temp-folder.ts'
import {
  ALL_BLOCKS,
  BLOCKS,
  contents,
  copyFiles,
  namesOf,
  openDatabase,
  readBlocks,
  writeKilledDatabase,
} from './database.ts'

/** A crash at a rename: it and all that would follow does not happen. */
const died = vi.hoisted(() => ({ beforeRenameTo: null as string | null }))
vi.mock('node:fs/promises', async (original) => {
  const fs = await original<typeof FsPromises>()
  const rename: typeof fs.rename = async (from, to) => {
    if (to === died.beforeRenameTo) throw new Error('died')
    await fs.rename(from, to)
  }
  return { ...fs, rename }
})

const tempFolder = tempFolders()

let original: string
/** CURRENT, MANIFEST and log of an earlier time. */
let early: string
beforeAll(async () => {
  const folder = await mkdtemp(join(await tempFolder(), '..', 'sluice-killed-'))
  original = join(folder, 'db')
  early = join(folder, 'early')
  await writeKilledDatabase(original, join(folder, 'work'), early)
})
afterAll(() => rm(join(original, '..'), { recursive: true, force: true }))

interface Spool {
  readonly dbDir: string
  readonly asideRoot: string
}

/** A copy of the database that was killed. */
async function killedSpool(): Promise<Spool> {
  const folder = await tempFolder()
  const dbDir = join(folder, 'db')
  await copyFiles(original, dbDir)
  return { dbDir, asideRoot: join(folder, 'aside') }
}

/** A last change of the MANIFEST whose table has no name yet, as a power cut may leave it. */
async function addUnnamedTable(
  dbDir: string,
): Promise<{ readonly current: string; readonly before: Buffer; readonly asLeft: Buffer }> {
  const current = (await readFile(join(dbDir, 'CURRENT'), 'utf8')).trim()
  const before = await readFile(join(dbDir, current))
  // New file, level 0, number 999, 100 bytes, keys 'a' to 'b'.
  const change = logOf([Buffer.from([7, 0, 0xe7, 0x07, 100, 1, 0x61, 1, 0x62])])
  const asLeft = Buffer.concat([before, change])
  await writeFile(join(dbDir, current), asLeft)
  return { current, before, asLeft }
}

/** What the store does with a plan. */
async function carryOut(plan: OpeningPlan): Promise<void> {
  if (plan.mode === 'repair') await repairFolder(plan.dbDir)
  const db = await openDatabase(plan.dbDir).catch(async () => {
    await repairFolder(plan.dbDir)
    return openDatabase(plan.dbDir)
  })
  await db.compactRange('a', 'z')
  await db.close()
}

/** Blocks that are in the database, or that repair finds in the aside. */
async function foundBlocks(plan: OpeningPlan): Promise<number[]> {
  const found = new Set(await readBlocks(plan.dbDir))
  if (plan.aside !== null) {
    const scratch = await salvageDatabase(plan.aside)
    for (const n of await readBlocks(scratch)) found.add(n)
    await dropSalvage(scratch)
  }
  return [...found].toSorted((a, b) => a - b)
}

async function currentManifest(dbDir: string): Promise<string> {
  return join(dbDir, (await readFile(join(dbDir, 'CURRENT'), 'latin1')).trim())
}

/** Without LOCK and LOG. */
async function dataFiles(dbDir: string): Promise<Record<string, string>> {
  const names = (await listDatabaseFiles(dbDir)).map(({ name }) => name)
  return Object.fromEntries(
    Object.entries(await contents(dbDir)).filter(([name]) => names.includes(name)),
  )
}

describe('prepareOpening', () => {
  it('creates only where no LevelDB file lies', async () => {
    const folder = await tempFolder()
    const dbDir = join(folder, 'db')
    const root = join(folder, 'aside')
    expect(await prepareOpening(dbDir, root)).toMatchObject({
      mode: 'create',
      aside: null,
      suspicious: false,
    })
    await mkdir(dbDir)
    for (const name of ['LOCK', 'LOG', 'LOG.old', '000009.dbtmp', 'notes.txt']) {
      await writeFile(join(dbDir, name), 'x')
      expect((await prepareOpening(dbDir, root)).mode).toBe('create')
    }
    for (const name of ['CURRENT', 'MANIFEST-000001', '000003.log', '000005.ldb', '000005.sst']) {
      await writeFile(join(dbDir, name), 'x')
      expect((await prepareOpening(dbDir, root)).mode, name).toBe('repair')
      await rm(join(dbDir, name))
    }
  })

  it('I7: puts hard links of every file aside before an unclean opening, and opens', async () => {
    const spool = await killedSpool()
    const names = await namesOf(spool.dbDir, /ldb$|log$|^MANIFEST|^CURRENT$/)
    const inodes = await Promise.all(
      names.map(async (name) => (await stat(join(spool.dbDir, name))).ino),
    )
    const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
    expect(plan).toMatchObject({ mode: 'open', suspicious: false, notes: [], earlier: [] })
    const aside = plan.aside as string
    expect(await namesOf(aside, /./)).toEqual(names)
    expect(
      await Promise.all(names.map(async (name) => (await stat(join(aside, name))).ino)),
    ).toEqual(inodes)
    await carryOut(plan)
    expect(await readBlocks(spool.dbDir)).toEqual(ALL_BLOCKS)
    await dropAside(plan)
    expect(await readdir(spool.asideRoot)).toEqual([])
  })

  it('I7: without CURRENT it repairs, and nothing is lost', async () => {
    const spool = await killedSpool()
    await rm(join(spool.dbDir, 'CURRENT'))
    const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
    expect(plan).toMatchObject({ mode: 'repair', suspicious: true, faults: ['CURRENT is gone'] })
    await carryOut(plan)
    expect(await readBlocks(spool.dbDir)).toEqual(ALL_BLOCKS)
    await dropAside(plan)
    expect(await readBlocks(spool.dbDir)).toEqual(ALL_BLOCKS)
  })

  it.each([
    ['empty', ''],
    ['without its line end', 'MANIFEST-000002'],
    ['nonsense', '../../etc/passwd\n'],
    ['a MANIFEST that is not there', 'MANIFEST-999999\n'],
  ])('I7: with a CURRENT that is %s it repairs, and nothing is lost', async (_what, text) => {
    const spool = await killedSpool()
    await writeFile(join(spool.dbDir, 'CURRENT'), text)
    const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
    expect(plan.mode).toBe('repair')
    await carryOut(plan)
    expect(await readBlocks(spool.dbDir)).toEqual(ALL_BLOCKS)
  })

  it('I7: a MANIFEST cut to any length costs nothing, and no file that was put aside is touched', async () => {
    const { size } = await stat(await currentManifest(original))
    const modes = new Set<string>()
    for (let cut = 1; cut <= size; cut += Math.max(1, Math.floor(size / 25))) {
      const spool = await killedSpool()
      await truncate(await currentManifest(spool.dbDir), size - cut)
      const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
      modes.add(plan.mode)
      const before = await contents(plan.aside as string)
      await carryOut(plan)
      expect(await contents(plan.aside as string), `${cut} bytes shorter`).toEqual(before)
      expect(await foundBlocks(plan), `${cut} bytes shorter`).toEqual(ALL_BLOCKS)
      expect(await contents(plan.aside as string), `${cut} bytes shorter`).toEqual(before)
    }
    expect(modes).toContain('repair')
  })

  it('I7: an old MANIFEST with its log, which makes LevelDB deal file numbers again, costs nothing', async () => {
    const spool = await killedSpool()
    await copyFiles(early, spool.dbDir)
    const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
    expect(plan.mode).toBe('open')
    expect(plan.unnamed.length).toBeGreaterThan(1)
    const before = await contents(plan.aside as string)
    await carryOut(plan)
    expect((await readBlocks(spool.dbDir)).length).toBeLessThan(BLOCKS)
    // Without taking the unnamed tables out of its folder LevelDB truncates some, and with them
    // their links.
    expect(await contents(plan.aside as string)).toEqual(before)
    expect(await foundBlocks(plan)).toEqual(ALL_BLOCKS)
  })

  it('I7: a changed byte in the MANIFEST costs nothing', async () => {
    const bytes = await readFile(await currentManifest(original))
    for (let at = 3; at < bytes.length; at += Math.floor(bytes.length / 7)) {
      const spool = await killedSpool()
      const damaged = Buffer.from(bytes)
      damaged[at] = (damaged[at] as number) ^ 0x55
      await writeFile(await currentManifest(spool.dbDir), damaged)
      const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
      await carryOut(plan)
      expect(await foundBlocks(plan), `byte ${at}`).toEqual(ALL_BLOCKS)
    }
  })

  it('I7: notices that a log is gone, which LevelDB does not, and keeps what the tables hold', async () => {
    const spool = await killedSpool()
    const logs = await namesOf(spool.dbDir, /log$/)
    for (const log of logs) await rm(join(spool.dbDir, log))
    const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
    expect(plan.suspicious).toBe(true)
    expect(plan.notes.join()).toContain(`the log ${logs[0]} is gone`)
    await carryOut(plan)
    const found = await foundBlocks(plan)
    expect(found.length).toBeGreaterThan(BLOCKS / 2)
    // The end is missing, and nothing else.
    expect(found).toEqual(ALL_BLOCKS.slice(0, found.length))
  })

  it.each(['gone', 'shorter', 'empty'])(
    'I7: a table that is %s costs its own blocks only',
    async (how) => {
      const spool = await killedSpool()
      const table = (await namesOf(spool.dbDir, /ldb$/))[0] as string
      if (how === 'gone') await rm(join(spool.dbDir, table))
      else await truncate(join(spool.dbDir, table), how === 'empty' ? 0 : 1000)
      const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
      expect(plan).toMatchObject({ mode: 'repair', suspicious: true })
      expect(plan.notes.join()).toContain(`the table ${table}`)
      await carryOut(plan)
      const found = await readBlocks(spool.dbDir)
      expect(found.length).toBeGreaterThan(BLOCKS * 0.7)
      expect(found.length).toBeLessThan(BLOCKS)
    },
  )

  it('I7: always has a plan that ends in an open database, whatever is in the folder', async () => {
    const damage = fc.record({
      file: fc.nat(),
      how: fc.constantFrom('remove', 'cut', 'garble', 'folder', 'empty'),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), async (damages) => {
        const spool = await killedSpool()
        for (const { file, how, at } of damages) {
          const names = (await readdir(spool.dbDir)).toSorted()
          const path = join(spool.dbDir, names[file % names.length] as string)
          const stats = await stat(path)
          if (stats.isDirectory()) continue
          if (how === 'remove' || how === 'folder') await rm(path)
          if (how === 'folder') await mkdir(path)
          if (how === 'empty') await truncate(path, 0)
          if (how === 'cut') await truncate(path, Math.floor(stats.size * at))
          if (how === 'garble') {
            const bytes = await readFile(path)
            const from = Math.floor(bytes.length * at)
            bytes.fill(0xa7, from, Math.min(bytes.length, from + 20))
            await writeFile(path, bytes)
          }
        }
        const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
        const before = plan.aside === null ? {} : await contents(plan.aside)
        await carryOut(plan)
        if (plan.aside !== null) expect(await contents(plan.aside)).toEqual(before)
        await rm(join(spool.dbDir, '..'), { recursive: true })
      }),
      { numRuns: 25 },
    )
  })

  it('after a clean stop puts links aside as well, with which the opening can be undone', async () => {
    const spool = await killedSpool()
    await carryOut(await prepareOpening(spool.dbDir, spool.asideRoot))
    await rm(spool.asideRoot, { recursive: true })
    const clean = { afterCleanStop: true }
    const before = await dataFiles(spool.dbDir)
    const plan = await prepareOpening(spool.dbDir, spool.asideRoot, clean)
    expect(plan).toMatchObject({ mode: 'open', suspicious: false, isWhole: true })
    // LevelDB makes a table of the log, deletes the log, and names a new MANIFEST.
    await (await openStore(spool.dbDir, { create: false })).close()
    expect(await dataFiles(spool.dbDir)).not.toEqual(before)
    expect(await undoOpening(plan)).toBe(true)
    expect(await dataFiles(spool.dbDir)).toEqual(before)
    expect(await readdir(spool.asideRoot)).toEqual([])
    await rm(join(spool.dbDir, 'CURRENT'))
    const again = await prepareOpening(spool.dbDir, spool.asideRoot, clean)
    expect(again.mode).toBe('repair')
    await repairFolder(spool.dbDir)
    await undoOpening(again)
    expect(Object.keys(await dataFiles(spool.dbDir))).toEqual(
      Object.keys(before).filter((name) => name !== 'CURRENT'),
    )
  })

  it('I1, I7: undoes a last change of the MANIFEST whose table has no name yet, and calls nothing damaged', async () => {
    const { dbDir, asideRoot } = await killedSpool()
    const { current, before, asLeft } = await addUnnamedTable(dbDir)
    expect(parseManifest(asLeft).tables.has(999)).toBe(true)

    const plan = await prepareOpening(dbDir, asideRoot)
    expect(plan).toMatchObject({ mode: 'open', faults: [], suspicious: false })
    expect(plan.notes.join()).toContain(`the last change of ${current} came without its tables`)
    expect(await readFile(join(dbDir, current))).toEqual(before)
    expect(
      await readFile(join(plan.aside as string, current)),
      'the aside has what was found',
    ).toEqual(asLeft)
    await carryOut(plan)
    expect(await readBlocks(dbDir)).toEqual(ALL_BLOCKS)

    // Behind a clean stop all names were durable; and where the tables of before are gone, too,
    // nothing is left to go back to.
    const clean = await killedSpool()
    await writeFile(join(clean.dbDir, current), asLeft)
    expect(
      (await prepareOpening(clean.dbDir, clean.asideRoot, { afterCleanStop: true })).mode,
    ).toBe('repair')
    const gone = await killedSpool()
    await writeFile(join(gone.dbDir, current), asLeft)
    await rm(join(gone.dbDir, (await namesOf(gone.dbDir, /ldb$/))[0] as string))
    expect((await prepareOpening(gone.dbDir, gone.asideRoot)).faults).toHaveLength(2)
  })

  it('I7: tables that no power cut can have hit are read only where an earlier opening was not verified', async () => {
    const { dbDir } = await killedSpool()
    const oldest = (await namesOf(dbDir, /ldb$/))[0] as string
    const bytes = await readFile(join(dbDir, oldest))
    bytes[100] = (bytes[100] as number) ^ 0xff
    await writeFile(join(dbDir, oldest), bytes)
    const files = await listDatabaseFiles(dbDir)
    const look = async (allTables: boolean, newestBytes: number): Promise<number> => {
      const { faults } = await diagnose(dbDir, files, {
        afterCleanStop: false,
        allTables,
        newestBytes,
      })
      return faults.filter((fault) => fault.startsWith(`the table ${oldest} is damaged`)).length
    }
    expect(await look(false, bytes.length)).toBe(0)
    expect(await look(true, bytes.length)).toBe(1)
    expect(await look(false, 64 * bytes.length)).toBe(1)
  })

  const otherDisk = '/dev/shm'
  const hasOtherDisk = existsSync(otherDisk)
  it.runIf(hasOtherDisk)(
    'copies where hard links are refused, as between file systems',
    async (context) => {
      const spool = await killedSpool()
      const root = await mkdtemp(join(otherDisk, 'sluice-aside-'))
      try {
        if ((await stat(root)).dev === (await stat(spool.dbDir)).dev)
          context.skip('/dev/shm is no other file system')
        const before = await contents(spool.dbDir)
        const plan = await prepareOpening(spool.dbDir, root)
        expect(plan.notes.join()).toContain('copied aside')
        expect(plan.faults).toEqual([])
        const copies = await contents(plan.aside as string)
        for (const [name, hash] of Object.entries(copies)) expect(hash).toBe(before[name])
        await rm(join(spool.dbDir, 'CURRENT'))
        expect(await foundBlocks({ ...plan, dbDir: plan.aside as string })).toEqual(ALL_BLOCKS)
      } finally {
        await rm(root, { recursive: true, force: true })
      }
    },
  )

  it('I7: an opening that did not finish leaves its aside to the next one, and half made folders go', async () => {
    const spool = await killedSpool()
    const first = await prepareOpening(spool.dbDir, spool.asideRoot)
    await mkdir(join(spool.asideRoot, 'making-1'))
    await mkdir(join(spool.asideRoot, 'salvage-1'))
    const second = await prepareOpening(spool.dbDir, spool.asideRoot)
    expect(second.earlier).toEqual([first.aside])
    expect(second.suspicious).toBe(true)
    expect(await readdir(spool.asideRoot)).toEqual(['aside-000001', 'aside-000002'])
    await dropAside(second)
    expect(await readdir(spool.asideRoot)).toEqual([])
  })

  it('I6: a gateway that is killed at every opening keeps the first aside and the newest ones', async () => {
    const spool = await killedSpool()
    const plans: OpeningPlan[] = []
    for (let n = 0; n < MAX_UNFINISHED_ASIDES + 3; n += 1) {
      plans.push(await prepareOpening(spool.dbDir, spool.asideRoot))
    }
    const left = (await readdir(spool.asideRoot)).toSorted()
    expect(left).toEqual(['aside-000001', 'aside-000005', 'aside-000006', 'aside-000007'])
    expect(plans.at(-1)?.notes.join()).toContain('was removed')
  })
})

describe('salvageDatabase', () => {
  it('I7: repair and use of the scratch folder leave the aside as it was', async () => {
    const spool = await killedSpool()
    const { aside } = await prepareOpening(spool.dbDir, spool.asideRoot)
    const before = await contents(aside as string)
    const scratch = await salvageDatabase(aside as string)
    const db = await openDatabase(scratch)
    for (let n = 0; n < 300; n += 1) await db.put(`more-${n}`, Buffer.alloc(2000, n))
    await db.compactRange('a', 'z')
    await db.close()
    expect(await readBlocks(scratch)).toEqual(ALL_BLOCKS)
    await dropSalvage(scratch)
    expect(await contents(aside as string)).toEqual(before)
  })
})

describe('keepAside', () => {
  it('I7: keeps the files with a note that says what and when', async () => {
    const spool = await killedSpool()
    await rm(join(spool.dbDir, 'CURRENT'))
    const plan = await prepareOpening(spool.dbDir, spool.asideRoot)
    const fromMs = Date.now()
    const said = await keepAside(plan, 'Seqs 17 to 20 of telemetry are missing.')
    expect(said).toEqual([expect.stringContaining(plan.aside as string)])
    const readme = await readFile(join(plan.aside as string, 'README.txt'), 'utf8')
    expect(readme).toContain('Seqs 17 to 20 of telemetry are missing.')
    expect(readme).toContain('CURRENT is gone')
    const atMs = Date.parse(/^Kept by Sluice on (\S+)\.$/m.exec(readme)?.[1] ?? '')
    expect(atMs).toBeGreaterThanOrEqual(fromMs)
    expect(atMs).toBeLessThanOrEqual(Date.now())
    // It is no unfinished opening any more.
    expect((await prepareOpening(spool.dbDir, spool.asideRoot)).earlier).toEqual([])
  })

  it('I6: removes the oldest above the limits of count and bytes, never the newest, and says so', async () => {
    const spool = await killedSpool()
    const keep = async (limits: { maxFolders: number; maxBytes: number }): Promise<string[]> =>
      keepAside(await prepareOpening(spool.dbDir, spool.asideRoot), 'n', limits)
    const roomy = { maxFolders: 2, maxBytes: 2 ** 40 }
    expect(await keep(roomy)).toHaveLength(1)
    expect(await keep(roomy)).toHaveLength(1)
    expect((await keep(roomy)).slice(1)).toEqual([expect.stringContaining('aside-000001')])
    expect(await readdir(spool.asideRoot)).toEqual(['aside-000002', 'aside-000003'])
    const tight = await keep({ maxFolders: 9, maxBytes: 1 })
    expect(tight.filter((line) => line.includes('was removed'))).toHaveLength(2)
    expect(tight.at(-1)).toContain('alone is above the limit')
    expect(await readdir(spool.asideRoot)).toEqual(['aside-000004'])
  })
})

describe('the mark of a clean stop', () => {
  it('is there after markClean and until clearClean, and a damaged one does not count', async () => {
    const folder = await tempFolder()
    expect(await wasClean(folder)).toBe(false)
    await clearClean(folder)
    await markClean(folder)
    expect(await wasClean(folder)).toBe(true)
    await clearClean(folder)
    expect(await wasClean(folder)).toBe(false)
    await markClean(folder)
    const [name] = await readdir(folder)
    await writeFile(join(folder, name as string), '')
    expect(await wasClean(folder)).toBe(false)
  })
})

it('what a crash leaves of a MANIFEST that was being replaced goes with the next opening', async () => {
  const { dbDir, asideRoot } = await killedSpool()
  const { current, before, asLeft } = await addUnnamedTable(dbDir)
  const names = await readdir(dbDir)
  died.beforeRenameTo = join(dbDir, current)
  await expect(prepareOpening(dbDir, asideRoot)).rejects.toThrow('died')
  died.beforeRenameTo = null
  expect(await readFile(join(dbDir, current)), 'nothing was replaced').toEqual(asLeft)
  const others = (await readdir(dbDir)).filter((name) => !names.includes(name))
  expect(others, 'what the crash left').toHaveLength(1)

  const plan = await prepareOpening(dbDir, asideRoot)
  expect(await readFile(join(dbDir, current))).toEqual(before)
  await carryOut(plan)
  expect(await readdir(dbDir)).not.toContain(others[0])
  expect(await readBlocks(dbDir)).toEqual(ALL_BLOCKS)
})
