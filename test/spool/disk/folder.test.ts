import { link, mkdir, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { syncFolder } from '../../../gateway/shared/files.ts'
import { folderBytes } from '../../../gateway/shared/folder-bytes.ts'
import { bootId, freeBytes } from '../../../gateway/spool/disk/folder.ts'
import { tempFolders } from './temp-folder.ts'

const tempFolder = tempFolders()

describe('folder', () => {
  it('counts the bytes below it, a file with two links once', async () => {
    const folder = await tempFolder()
    await mkdir(join(folder, 'deep'))
    await writeFile(join(folder, 'a'), Buffer.alloc(100_000, 1))
    await writeFile(join(folder, 'deep', 'b'), Buffer.alloc(50_000, 1))
    const bytes = await folderBytes(folder)
    expect(bytes).toBeGreaterThanOrEqual(150_000)
    expect(bytes).toBeLessThan(200_000)
    await link(join(folder, 'a'), join(folder, 'deep', 'a'))
    expect(await folderBytes(folder)).toBe(bytes)
    expect(await folderBytes(join(folder, 'none'))).toBe(0)
  })

  it('says how much this user may still write', async () => {
    const folder = await tempFolder()
    const { bavail, bsize, blocks } = await statfs(folder)
    const free = await freeBytes(folder)
    // Others write to this disk, too: the same unit, not the same number.
    expect(Math.abs(free - bavail * bsize)).toBeLessThan(blocks * bsize * 0.1)
  })

  it('can be synced, and says so when it is not there', async () => {
    const folder = await tempFolder()
    await syncFolder(folder)
    await expect(syncFolder(join(folder, 'none'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it.runIf(process.platform === 'linux')('knows this boot', () => {
    expect(bootId()).toMatch(/^[0-9a-f-]{36}$/)
    expect(bootId()).toBe(bootId())
  })
})
