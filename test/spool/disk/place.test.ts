/**
 * A data folder that is not where it was written goes on under a fresh spool id (I4), and one that
 * is keeps its own.
 */
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { judgePlace, type Place, type PlaceStats } from '../../../gateway/spool/disk/place.ts'
import { NewerFormatError, SPOOL_FORMAT } from '../../../gateway/spool/format.ts'
import { heldStores } from '../../support/held-store.ts'
import { openSpool, queueOf } from '../../support/spool-fixture.ts'
import { appendReadings, deliverAll, useFolder } from '../../support/spool-test.ts'

const folder = useFolder()
let data: string
let bak: string
beforeEach(() => {
  data = join(folder.path, 'data')
  bak = join(folder.path, 'bak')
})
const OPTIONS = { ballastBytes: 4096 }

interface Life {
  readonly spoolId: string
  /** Ids of what was appended in it, and of all that was delivered. */
  readonly appended: readonly string[]
  readonly delivered: readonly string[]
  readonly whys: readonly string[]
}

/** Opens the spool, appends so many readings, and delivers all that is there, or nothing. */
async function live(dataDir: string, readings: number, delivers = true): Promise<Life> {
  const { spool, events } = await openSpool(dataDir, OPTIONS)
  await appendReadings(spool, 1, readings)
  const { nextSeq } = queueOf(spool).spool.state
  const appended = Array.from(
    { length: readings },
    (_, i) => `edge-01:${spool.spoolId}:telemetry:${nextSeq - readings + i}`,
  )
  const delivered = delivers ? (await deliverAll(spool)).map(({ id }) => id) : []
  await spool.stop()
  const whys = events.flatMap((event) =>
    event.type === 'spool.identity-changed' ? [event.why] : [],
  )
  return { spoolId: spool.spoolId, appended, delivered, whys }
}

/** Clones blocks where the file system can. */
const copy = (from: string, to: string): void =>
  void execFileSync('cp', ['-a', '--reflink=auto', from, to])

describe('a data folder that stays where it is', () => {
  it('keeps its spool id over stops, and over a kill', async () => {
    const { spoolId } = await live(data, 3)
    expect((await live(data, 3)).spoolId).toBe(spoolId)
    const stores = heldStores()
    const killed = await openSpool(data, { ...OPTIONS, openStore: stores.openStore })
    expect(killed.spool.noticesRestore).toBe(true)
    await stores.crash()
    expect(await live(data, 3)).toMatchObject({ spoolId, whys: [] })
  })

  it('keeps it when it is renamed: there is no second one', async () => {
    const { spoolId } = await live(data, 3)
    renameSync(data, bak)
    expect(await live(bak, 3)).toMatchObject({ spoolId, whys: [] })
  })

  it('keeps it over the first start of this version behind version 0.1.0', async () => {
    const name = '0.1.0-stopped'
    const { pathname } = new URL(`../../fixtures/spools/${name}.tar.gz`, import.meta.url)
    mkdirSync(data)
    execFileSync('tar', ['-C', data, '-xzf', pathname])
    const first = await live(data, 0, false)
    expect(first.whys).toEqual([])
    expect((await live(data, 0, false)).spoolId).toBe(first.spoolId)
  })
})

/**
 * How a folder of an earlier time comes back. Each gets `data` as it is now and `bak` as it was.
 */
const RESTORES: Readonly<Record<string, () => void>> = {
  'swapped for its copy': () => {
    rmSync(data, { recursive: true })
    renameSync(bak, data)
  },
  'copied back': () => {
    rmSync(data, { recursive: true })
    copy(bak, data)
  },
  'copied back over what is there': () => copy(`${bak}/.`, data),
  'copied back where its contents differ, as rsync does': () => {
    for (const name of ['seq-lease', 'spool', 'place']) {
      rmSync(join(data, name), { recursive: true })
      cpSync(join(bak, name), join(data, name), { recursive: true, preserveTimestamps: true })
    }
  },
  'unpacked from an archive in its place': () => {
    const archive = join(folder.path, 'bak.tar')
    execFileSync('tar', ['-C', bak, '-cf', archive, '.'])
    rmSync(data, { recursive: true })
    mkdirSync(data)
    execFileSync('tar', ['-C', data, '-xf', archive])
  },
  'unpacked over what is there': () => {
    const archive = join(folder.path, 'bak.tar')
    execFileSync('tar', ['-C', bak, '-cf', archive, '.'])
    execFileSync('tar', ['-C', data, '-xf', archive])
  },
  'restored without its mark': () => {
    rmSync(data, { recursive: true })
    copy(bak, data)
    rmSync(join(data, 'place'))
  },
  'restored in part: the records alone': () => {
    rmSync(join(data, 'spool'), { recursive: true })
    copy(join(bak, 'spool'), join(data, 'spool'))
  },
  'restored in part: the lease alone': () => copy(join(bak, 'seq-lease'), join(data, 'seq-lease')),
}

describe.each(Object.entries(RESTORES))('a data folder that was %s', (name, restore) => {
  it.each(['stop', 'copy of a folder in use'])(
    'I4: uses no number twice, after a %s',
    async (how) => {
      const first = await live(data, 5, false)
      if (how === 'stop') copy(data, bak)
      else {
        const { spool } = await openSpool(data, OPTIONS)
        copy(data, bak)
        await spool.stop()
      }
      const second = await live(data, 5)
      expect(second.delivered).toEqual([...first.appended, ...second.appended])
      restore()
      const third = await live(data, 3)
      const known = new Set(second.delivered)
      expect(third.appended.filter((id) => known.has(id))).toEqual([])
      // Where all of it is old, what waited then drains under the id that it had.
      expect(third.delivered).toEqual(expect.arrayContaining([...third.appended]))
      if (!name.includes('in part')) {
        expect(third.whys).toHaveLength(1)
        expect(third.whys[0]).toMatch(
          /^the data folder was copied, moved or restored from a backup \(/,
        )
        // Over newer files an old log is put together with what came behind it.
        if (!name.includes('over what')) expect(third.delivered.slice(0, 5)).toEqual(first.appended)
      }
      const fourth = await live(data, 1)
      expect(fourth.whys).toEqual([])
      expect(fourth.spoolId).toBe(third.spoolId)
    },
  )
})

it('I4: two boxes that went on from one folder number their records apart', async () => {
  await live(data, 5)
  copy(data, bak)
  const [one, other] = [await live(data, 5), await live(bak, 5)]
  expect(one.spoolId).not.toBe(other.spoolId)
})

describe('judgePlace', () => {
  const [EXT4, NFS, FAT, BTRFS] = [0xef53, 0x6969, 0x4d44, 0x9123683e]
  const mark = (
    inode: string,
    birth: string | null = '7',
  ): { inode: string; birth: string | null } => ({
    inode,
    birth,
  })
  const place = (fields: Partial<Place> = {}): Place => ({
    format: SPOOL_FORMAT,
    files: { place: mark('1'), lease: mark('2') },
    fileSystem: null,
    changes: 0,
    ...fields,
  })
  const found = (type: number, fields: Partial<PlaceStats> = {}): PlaceStats => ({
    files: { place: mark('1'), lease: mark('2') },
    fileSystem: null,
    type,
    ...fields,
  })

  it('takes the same inode with another time of birth for another file', () => {
    const files = { place: mark('1', '8'), lease: mark('2') }
    expect(judgePlace(place(), found(EXT4, { files }), true).moved).toContain('place')
  })

  it('goes by inodes where there is no time of birth', () => {
    const files = { place: mark('1', null), lease: mark('2', null) }
    expect(judgePlace(place({ files }), found(NFS, { files }), true).moved).toBeNull()
    const other = { place: mark('3', null), lease: mark('2', null) }
    expect(judgePlace(place({ files }), found(NFS, { files: other }), true).moved).not.toBeNull()
  })

  it('knows a snapshot, which keeps both, by the id of the file system', () => {
    const was = place({ fileSystem: 'a' })
    expect(judgePlace(was, found(BTRFS, { fileSystem: 'a' }), true).moved).toBeNull()
    expect(judgePlace(was, found(BTRFS, { fileSystem: 'b' }), true).moved).toContain('snapshot')
    expect(judgePlace(was, found(BTRFS, { fileSystem: null }), true).moved).toBeNull()
  })

  it('believes no numbers that change at every start, and says so', () => {
    let last = place()
    const moved: boolean[] = []
    for (let start = 1; start <= 6; start++) {
      const files = { place: mark(`${start}00`), lease: mark(`${start}01`) }
      const verdict = judgePlace(last, found(NFS, { files }), true)
      moved.push(verdict.moved !== null)
      last = place({
        files: verdict.isTelling ? { place: mark(`x${start}`), lease: mark('y') } : null,
        changes: verdict.changes,
      })
      expect(verdict.isTelling).toBe(start < 3)
    }
    expect(moved).toEqual([true, true, false, false, false, false])
  })

  it('believes them on a file system that is known to keep them, however often they change', () => {
    const verdict = judgePlace(
      place({ changes: 7 }),
      found(EXT4, { files: { place: null, lease: null } }),
      true,
    )
    expect(verdict).toMatchObject({ isTelling: true })
    expect(verdict.moved).not.toBeNull()
  })

  it('asks nothing of a file system that numbers files as it meets them', () => {
    expect(judgePlace(null, found(FAT), true)).toEqual({
      moved: null,
      isTelling: false,
      changes: 0,
    })
  })

  it('misses a mark only where there was one', () => {
    expect(judgePlace(null, found(EXT4), false).moved).toBeNull()
    expect(judgePlace(null, found(EXT4), true).moved).toContain('gone')
    expect(judgePlace('damaged', found(EXT4), true).moved).toContain('damaged')
  })
})

describe('the format of the spool', () => {
  it('is written, and a newer one is refused in words before anything is touched', async () => {
    await live(data, 3, false)
    const path = join(data, 'place')
    const place = JSON.parse(readFileSync(path, 'utf8')) as Place
    expect(place.format).toBe(SPOOL_FORMAT)
    writeFileSync(path, JSON.stringify({ ...place, format: SPOOL_FORMAT + 1 }))
    const refusal = await openSpool(data, OPTIONS).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(NewerFormatError)
    expect(String(refusal)).toContain('start the version that wrote it')
    expect(existsSync(join(data, 'clean-stop'))).toBe(true)
    writeFileSync(path, JSON.stringify(place))
    expect((await live(data, 0)).delivered).toHaveLength(3)
  })
})
