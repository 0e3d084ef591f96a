/**
 * A store that the disk cannot read is left as it is, and a new one begins beside it (I7: bytes
 * that can be read).
 */
import { readdir, rename, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Random } from '../../../device-sim/random.ts'
import { smallStores } from '../../faults/damage/shapes.ts'
import { durable, lanes, message, openSpool } from '../../support/spool-fixture.ts'
import { useFolder } from '../../support/spool-test.ts'
import { contents } from '../leveldb/database.ts'

const folder = useFolder()

const OPTIONS = { ballastBytes: 4096, openStore: smallStores } as const

async function fill(n: number): Promise<string> {
  const { spool } = await openSpool(folder.path, OPTIONS)
  const to = lanes(spool, 'd', 't')
  const random = new Random(1, 'unreadable')
  for (let i = 0; i < n; i++) {
    const noise = Array.from({ length: 300 }, () => random.next().toString(36)).join('')
    await durable(spool, spool.appender.append(to, message(JSON.stringify({ i, noise }))))
  }
  await spool.stop()
  return spool.spoolId
}

it.runIf(process.platform === 'linux')(
  'I7, I8: what fails to be read is neither repaired nor lost: it waits, and is left aside only when that was said',
  async () => {
    const spoolId = await fill(60)
    const dbDir = join(folder.path, 'spool')
    const [table] = (await readdir(dbDir)).filter((name) => name.endsWith('.ldb'))
    const path = join(dbDir, table as string)
    await rename(path, join(folder.path, 'good'))
    // Reading it answers EIO, as a bad sector does.
    await symlink('/proc/self/mem', path)
    const names = (await readdir(dbDir)).filter((name) => /ldb|log|MANIFEST|CURRENT/.test(name))
    await expect(openSpool(folder.path, OPTIONS)).rejects.toMatchObject({ code: 'EIO' })
    await expect(openSpool(folder.path, OPTIONS)).rejects.toMatchObject({ code: 'EIO' })
    expect((await readdir(dbDir)).filter((name) => /ldb|log|MANIFEST|CURRENT/.test(name))).toEqual(
      names,
    )

    const { spool, events } = await openSpool(folder.path, { ...OPTIONS, besideUnreadable: true })
    expect(spool.spoolId, 'numbers are not used twice (I4)').not.toBe(spoolId)
    expect(spool.damage.join()).toContain(`the disk cannot read ${path}`)
    expect(events.some(({ type }) => type === 'spool.damage')).toBe(true)
    await durable(spool, spool.appender.append(lanes(spool, 'd', 't'), message('{"n":1}')))
    expect(spool.streams.get('telemetry')?.state.counters).toMatchObject({
      received: 1,
      dropped: { corrupt: 0 },
    })
    await spool.stop()
    const left = (await readdir(folder.path)).find((name) =>
      name.startsWith('spool.unreadable-'),
    ) as string
    expect((await readdir(join(folder.path, left))).filter((name) => names.includes(name))).toEqual(
      names,
    )

    // The disk reads again, and whoever looks after it has put the store back.
    await rm(dbDir, { recursive: true })
    await rename(join(folder.path, left), dbDir)
    await rm(path)
    await rename(join(folder.path, 'good'), path)
    const again = await openSpool(folder.path, OPTIONS)
    expect(again.spool.streams.get('telemetry')?.pendingRecords).toBe(60)
    await again.spool.stop()
  },
)

it('where all can be read, nothing is left aside', async () => {
  const spoolId = await fill(3)
  const before = await contents(join(folder.path, 'spool'))
  const { spool } = await openSpool(folder.path, { ...OPTIONS, besideUnreadable: true })
  expect(spool.spoolId).toBe(spoolId)
  expect(Object.keys(before).length).toBeGreaterThan(0)
  expect((await readdir(folder.path)).filter((name) => name.includes('unreadable'))).toEqual([])
  await spool.stop()
})
