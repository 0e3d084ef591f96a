import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  currentOwner,
  FolderInUseError,
  OWNER_FILE,
  type Owner,
  takeOwnership,
} from '../../../gateway/spool/files/owner.ts'
import { tempFolders } from './temp-folder.ts'

const tempFolder = tempFolders()

/** Besides the owner's file there is one turn, and no other trace. */
async function expectTidy(folder: string, owned: boolean): Promise<void> {
  const turn = expect.stringMatching(/^owner-\d+\.turn$/)
  expect((await readdir(folder)).toSorted()).toEqual(owned ? [turn, OWNER_FILE] : [turn])
}

async function ownerFile(folder: string): Promise<Owner> {
  return JSON.parse(await readFile(join(folder, OWNER_FILE), 'utf8')) as Owner
}

async function writeOwner(folder: string, owner: Partial<Owner>): Promise<void> {
  await writeFile(join(folder, OWNER_FILE), JSON.stringify(owner))
}

/** A claim in the name of another process: what that process would have written. */
async function claimFor(folder: string, pid: number): Promise<Owner> {
  const own = await takeOwnership(folder)
  const mine = await ownerFile(folder)
  await own.release()
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
  const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  return { ...mine, pid, startTicks, token: 'other' }
}

describe('takeOwnership', () => {
  it('names this process, refuses a second owner, and can be released', async () => {
    const folder = await tempFolder()
    const own = await takeOwnership(folder)
    expect((await currentOwner(folder))?.pid).toBe(process.pid)
    const refusal = await takeOwnership(folder).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(FolderInUseError)
    expect(refusal).toMatchObject({ code: 'SLUICE_FOLDER_IN_USE', pid: process.pid })
    expect((refusal as Error).message).toContain(`in use by process ${process.pid}`)
    expect((refusal as Error).message).toContain('gateway.dataDir')
    await own.release()
    expect(await currentOwner(folder)).toBe(null)
    for (let n = 0; n < 5; n += 1) await (await takeOwnership(folder)).release()
    await expectTidy(folder, false)
  })

  it('lets one of many at once through, whatever an earlier owner left', async () => {
    for (let run = 0; run < 40; run += 1) {
      const folder = await tempFolder()
      if (run % 2 === 1) await writeFile(join(folder, OWNER_FILE), 'left by something else')
      if (run % 3 === 1) await writeFile(join(folder, 'owner-7.turn'), 'left by a turn that was killed')
      const owners: Array<{ release(): Promise<void> }> = []
      const claims = Array.from({ length: 12 }, async () => owners.push(await takeOwnership(folder)))
      const results = await Promise.allSettled(claims)
      expect(owners).toHaveLength(1)
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(FolderInUseError)
      }
      await expectTidy(folder, true)
      await owners[0]?.release()
    }
  })

  it('never has two owners, while many take and release it', async () => {
    const folder = await tempFolder()
    let inside = 0
    let taken = 0
    const worker = async (): Promise<void> => {
      for (let n = 0; n < 30; n += 1) {
        const own = await takeOwnership(folder).catch((error: unknown) => {
          if (error instanceof FolderInUseError) return null
          throw error
        })
        if (own === null) continue
        inside += 1
        taken += 1
        expect(inside).toBe(1)
        await readdir(folder)
        expect(inside).toBe(1)
        inside -= 1
        await own.release()
      }
    }
    await Promise.all(Array.from({ length: 8 }, worker))
    expect(taken).toBeGreaterThan(8)
    await expectTidy(folder, false)
  })

  it.each(['', 'not json', '[]', 'null', '{"pid":"1"}', '{"pid":-1}', '{"pid":1.5}'])(
    'I7: is not stopped by a file that says %j',
    async (text) => {
      const folder = await tempFolder()
      await writeFile(join(folder, OWNER_FILE), text)
      const own = await takeOwnership(folder)
      expect((await ownerFile(folder)).pid).toBe(process.pid)
      await own.release()
    },
  )

  it('does not remove the file of an owner who came later', async () => {
    const folder = await tempFolder()
    const own = await takeOwnership(folder)
    await writeOwner(folder, { ...(await ownerFile(folder)), token: 'later' })
    await own.release()
    expect((await ownerFile(folder)).token).toBe('later')
  })

  it.runIf(process.platform === 'linux')('I7: a process that was killed with -9 owns nothing', async () => {
    const folder = await tempFolder()
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
    await once(child, 'spawn')
    const pid = child.pid as number
    await writeOwner(folder, await claimFor(folder, pid))
    await expect(takeOwnership(folder)).rejects.toMatchObject({ code: 'SLUICE_FOLDER_IN_USE', pid })
    child.kill('SIGKILL')
    await once(child, 'exit')
    await (await takeOwnership(folder)).release()
  })

  it.runIf(process.platform === 'linux')(
    'I7: a process that got the number of the owner, in this boot or another, does not own the folder',
    async () => {
      const folder = await tempFolder()
      const claim = await claimFor(folder, process.pid)
      await writeOwner(folder, claim)
      await expect(takeOwnership(folder)).rejects.toMatchObject({ code: 'SLUICE_FOLDER_IN_USE' })
      for (const other of [
        { startTicks: '1' },
        { bootId: 'another' },
        { bootId: null },
        { startTicks: null },
      ]) {
        await writeOwner(folder, { ...claim, ...other })
        await (await takeOwnership(folder)).release()
      }
    },
  )
})
