import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { deflateRawSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { Ballast } from '../../../gateway/spool/disk/ballast.ts'
import { freeBytes } from '../../../gateway/spool/disk/folder.ts'
import { tempFolders } from './temp-folder.ts'

const tempFolder = tempFolders()
const BYTES = 2 * 1024 * 1024 + 12_345

describe('Ballast', () => {
  it('I6: is a file of real bytes that no file system can store as less', async () => {
    const path = join(await tempFolder(), 'ballast')
    const ballast = await Ballast.open(path, BYTES)
    expect(ballast.present).toBe(false)
    expect(await ballast.ensure()).toBe(true)
    expect(ballast.present).toBe(true)
    const { size, blocks } = await stat(path)
    expect(size).toBe(BYTES)
    expect(blocks * 512).toBeGreaterThanOrEqual(BYTES)
    const content = await readFile(path)
    expect(deflateRawSync(content).length).toBeGreaterThan(BYTES * 0.99)
    expect((await Ballast.open(path, BYTES)).present).toBe(true)
  })

  it('is dropped, and can be made again', async () => {
    const folder = await tempFolder()
    const ballast = await Ballast.open(join(folder, 'ballast'), BYTES)
    await ballast.ensure()
    await ballast.drop()
    expect(ballast.present).toBe(false)
    expect(await readdir(folder)).toEqual([])
    await ballast.drop()
    expect(await ballast.ensure()).toBe(true)
    expect(await readdir(folder)).toEqual(['ballast'])
  })

  it('is not made where it would not fit, nor into the room that is to stay free', async () => {
    const folder = await tempFolder()
    const free = await freeBytes(folder)
    const tooLarge = await Ballast.open(join(folder, 'ballast'), free * 2)
    expect(await tooLarge.ensure()).toBe(false)
    expect(tooLarge.present).toBe(false)
    const small = await Ballast.open(join(folder, 'ballast'), BYTES)
    expect(await small.ensure(free * 2)).toBe(false)
    expect(await readdir(folder)).toEqual([])
  })

  it('does not count when it is sparse, of another size, or half made', async () => {
    const folder = await tempFolder()
    const path = join(folder, 'ballast')
    await writeFile(path, '')
    await truncate(path, BYTES)
    const sparse = await Ballast.open(path, BYTES)
    expect(sparse.present).toBe(false)
    await writeFile(`${path}.new`, 'half')
    expect(await sparse.ensure()).toBe(true)
    expect((await stat(path)).blocks * 512).toBeGreaterThanOrEqual(BYTES)
    expect(await readdir(folder)).toEqual(['ballast'])
    expect((await Ballast.open(path, BYTES * 2)).present).toBe(false)
  })

  it('obeys calls in their order', async () => {
    const path = join(await tempFolder(), 'ballast')
    const ballast = await Ballast.open(path, BYTES)
    await Promise.all([ballast.ensure(), ballast.drop(), ballast.ensure(), ballast.drop()])
    expect(ballast.present).toBe(false)
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
