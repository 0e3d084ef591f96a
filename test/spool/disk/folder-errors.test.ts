/** A data folder that cannot be used is refused in words, with the path and what to do. */
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { folderError } from '../../../gateway/spool/disk/folder-errors.ts'
import { openSpool } from '../../support/spool-fixture.ts'
import { tempFolders } from './temp-folder.ts'

const tempFolder = tempFolders()

async function refusal(dataDir: string): Promise<{ code: string; message: string }> {
  try {
    await (await openSpool(dataDir, { ballastBytes: 4096 })).spool.stop()
  } catch (error) {
    return error as { code: string; message: string }
  }
  throw new Error('it opened')
}

describe('a data folder that cannot be used', () => {
  it('is a file, or lies below one', async () => {
    const folder = await tempFolder()
    await writeFile(join(folder, 'file'), 'x')
    for (const dataDir of [join(folder, 'file'), join(folder, 'file', 'data')]) {
      const { code, message } = await refusal(dataDir)
      expect(code).toBe('SLUICE_FOLDER_UNUSABLE')
      expect(message).toContain(`${dataDir}, or what is above it, is a file and no folder`)
    }
    expect(await readFile(join(folder, 'file'), 'utf8')).toBe('x')
  })

  it('is a link to nothing', async () => {
    const folder = await tempFolder()
    await symlink(join(folder, 'usb-stick'), join(folder, 'data'))
    const { code, message } = await refusal(join(folder, 'data'))
    expect(code).toBe('SLUICE_FOLDER_UNUSABLE')
    expect(message).toContain(`data is a link to ${join(folder, 'usb-stick')}, which is not there`)
  })

  it.runIf(process.platform === 'linux')(
    'lies where no folder can be made, and does not hang',
    async () => {
      const { code, message } = await refusal('/proc/sluice/data')
      expect(code).toBe('SLUICE_FOLDER_UNUSABLE')
      expect(message).toContain('/proc/sluice')
      expect(message).toContain('cannot be made there')
    },
  )

  it.each([
    ['EROFS', /read-only file system: mount it writable/],
    ['EINVAL', /cannot make names durable \(EINVAL of fsync\).*not SMB or CIFS/],
    ['ELOOP', /a link that leads to itself/],
    ['ENAMETOOLONG', /too long/],
    ['EISDIR', /is a folder where a file belongs/],
  ])('says what to do about %s', (code, words) => {
    const error = Object.assign(new Error(code), { code, path: '/data/spool', syscall: 'fsync' })
    expect(folderError('/data', error)).toMatchObject({
      code: 'SLUICE_FOLDER_UNUSABLE',
      retryable: false,
    })
    expect((folderError('/data', error) as Error).message).toMatch(words)
  })

  it('what LevelDB says of a file is told with its path', () => {
    const cause = Object.assign(new Error('IO error: /data/spool/000004.ldb: Permission denied'), {
      code: 'LEVEL_IO_ERROR',
    })
    const error = new Error('Database failed to open', { cause })
    expect((folderError('/data', error) as Error).message).toContain(
      '/data/spool/000004.ldb (EACCES)',
    )
  })
})

it('the store and what is put aside are for the gateway’s user alone, also where they were for everybody', async () => {
  const dataDir = await tempFolder()
  await mkdir(join(dataDir, 'spool'), { mode: 0o755 })
  await (await openSpool(dataDir, { ballastBytes: 4096 })).spool.stop()
  await (await openSpool(dataDir, { ballastBytes: 4096 })).spool.stop()
  for (const name of await readdir(dataDir)) {
    const stats = await stat(join(dataDir, name))
    if (stats.isDirectory()) expect(stats.mode & 0o007, name).toBe(0)
  }
})
