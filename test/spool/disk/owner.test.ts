import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { FolderInUseError } from '../../../gateway/spool/disk/folder-errors.ts'
import {
  currentOwner,
  OWNER_FILE,
  type Owner,
  takeBriefly,
  takeOwnership,
} from '../../../gateway/spool/disk/owner.ts'
import { openStore } from '../../../gateway/spool/store/store.ts'
import { sourcePath } from '../../support/source-path.ts'
import { findTool } from '../../support/tools.ts'
import { tempFolders } from './temp-folder.ts'

const tempFolder = tempFolders()
const children: ChildProcess[] = []
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
})

const TAKE = `
  const { takeOwnership } = await import(${JSON.stringify(sourcePath('dist/gateway/spool/disk/owner.js'))})
  await takeOwnership(process.argv[1])
  console.log('owned')
  setInterval(() => {}, 1000)
`

/** Another process that owns the folder, where this one cannot see it if `wrap` says so. */
async function ownerProcess(folder: string, wrap: readonly string[] = []): Promise<ChildProcess> {
  const [command, ...args] = [
    ...wrap,
    process.execPath,
    '--input-type=module',
    '-e',
    TAKE,
    '--',
    folder,
  ]
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const [said] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
  expect(String(said)).toBe('owned\n')
  return child
}

async function ownerFile(folder: string): Promise<Owner> {
  return JSON.parse(await readFile(join(folder, OWNER_FILE), 'utf8')) as Owner
}

async function refusal(folder: string): Promise<FolderInUseError> {
  const error = await takeOwnership(folder).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(FolderInUseError)
  return error as FolderInUseError
}

describe('takeOwnership', () => {
  it('names this process, refuses a second owner, and can be released', async () => {
    const folder = await tempFolder()
    const own = await takeOwnership(folder)
    expect((await currentOwner(folder))?.pid).toBe(process.pid)
    const error = await refusal(folder)
    expect(error).toMatchObject({ code: 'SLUICE_FOLDER_IN_USE', pid: process.pid })
    expect(error.message).toContain(`in use by process ${process.pid}`)
    expect(error.message).toContain('gateway.dataDir')
    await own.release()
    expect(await currentOwner(folder)).toBe(null)
    for (let n = 0; n < 5; n += 1) await (await takeOwnership(folder)).release()
    expect(await readdir(folder)).toEqual(['owner'])
    expect((await stat(join(folder, 'owner'))).mode & 0o777).toBe(0o700)
  })

  it('lets one of many at once through, whatever an earlier owner left', async () => {
    for (let run = 0; run < 8; run += 1) {
      const folder = await tempFolder()
      if (run % 2 === 1) await writeFile(join(folder, OWNER_FILE), 'left by something else')
      if (run % 3 === 1) await writeFile(join(folder, 'owner-7.turn'), 'left by version 0.1')
      const owners: Array<{ release(): Promise<void> }> = []
      const claims = Array.from({ length: 12 }, async () =>
        owners.push(await takeOwnership(folder)),
      )
      const results = await Promise.allSettled(claims)
      expect(owners).toHaveLength(1)
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(FolderInUseError)
      }
      expect((await readdir(folder)).toSorted()).toEqual(['owner', OWNER_FILE])
      await owners[0]?.release()
    }
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

  it('I7: is not stopped by damage to its own folder', async () => {
    const folder = await tempFolder()
    await (await takeOwnership(folder)).release()
    const lock = join(folder, 'owner')
    for (const name of await readdir(lock))
      if (name !== 'LOCK') await writeFile(join(lock, name), 'garbage')
    await (await takeOwnership(folder)).release()
    await mkdir(join(lock, '000099.dbtmp', 'inside'), { recursive: true })
    await (await takeOwnership(folder)).release()
    const other = await tempFolder()
    await writeFile(join(other, 'owner'), 'a file')
    await writeFile(join(other, 'spool'), 'a file')
    await (await takeOwnership(other)).release()
    const third = await tempFolder()
    await mkdir(join(third, 'owner', 'LOCK'), { recursive: true })
    await mkdir(join(third, OWNER_FILE))
    await (await takeOwnership(third)).release()
  })

  it('a gateway of version 0.1, which holds the database alone, is an owner too', async () => {
    const folder = await tempFolder()
    const store = await openStore(join(folder, 'spool'), { create: true })
    await refusal(folder)
    await store.close()
    await (await takeOwnership(folder)).release()
  })

  it('waits for a command that has it for a moment, and names one that does not let go', async () => {
    const folder = await tempFolder()
    const command = await takeBriefly(folder)
    const gateway = takeOwnership(folder)
    const early = await Promise.race([gateway, sleep(300, 'it waits')])
    expect(early).toBe('it waits')
    await command.release()
    await (await gateway).release()

    const long = await takeBriefly(folder)
    const error = await refusal(folder)
    expect(error.message).toContain(`process ${process.pid} (since `)
    expect(error.message).toContain('a command of sluice: let it end')
    await long.release()
  })

  it('does not remove the file of an owner who came later', async () => {
    const folder = await tempFolder()
    const own = await takeOwnership(folder)
    await writeFile(
      join(folder, OWNER_FILE),
      JSON.stringify({ ...(await ownerFile(folder)), token: 'later' }),
    )
    await own.release()
    expect((await ownerFile(folder)).token).toBe('later')
  })

  it('another process is named, and owns nothing once it was killed with -9 (I7)', async () => {
    const folder = await tempFolder()
    const child = await ownerProcess(folder)
    expect((await refusal(folder)).pid).toBe(process.platform === 'linux' ? child.pid : null)
    child.kill('SIGKILL')
    await once(child, 'exit')
    await (await takeOwnership(folder)).release()
  })

  it.runIf(process.getuid?.() === 0 && findTool('unshare') !== null)(
    'a process of another pid namespace (a container) is an owner, and the refusal says that it cannot be seen',
    async () => {
      const folder = await tempFolder()
      const child = await ownerProcess(folder, [
        'unshare',
        '--pid',
        '--fork',
        '--kill-child',
        '--mount-proc',
      ])
      const error = await refusal(folder)
      expect(error.pid).toBe(null)
      expect(error.message).toContain(
        'a process that this one cannot see, for instance in another container',
      )
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  )
})
