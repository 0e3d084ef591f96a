/**
 * What a start would refuse, found before anything is opened or written. `sluice check` reports the
 * same by the same code. A secret of a sink that cannot be read does not keep the gateway from
 * starting (I7, I8: what devices send is kept), but nothing would leave: `check` reports a fault.
 */
import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { AdminError } from './admin/errors.ts'
import { adminAddressFault } from './admin/server.ts'
import { readUsers } from './admin/sign-in/users.ts'
import { listenerFaults, portFaults } from './broker/preflight.ts'
import type { FolderTrial, Trial } from './cli/context.ts'
import type { Config } from './configuration.ts'
import { errorCode, errorMessage } from './shared/errors.ts'
import { sinkTypeOf } from './sink/registry.ts'
import { FolderUnusableError } from './spool/disk/folder-errors.ts'
import { currentOwner, type Owner } from './spool/disk/owner.ts'

/** Several faults at once; each says what to do. */
class StartRefusedError extends Error {
  override readonly name = 'StartRefusedError'
  readonly faults: readonly Error[]

  constructor(faults: readonly Error[]) {
    super(faults.map(({ message }) => message).join('\n'))
    this.faults = faults
  }
}

/** What keeps a sink from receiving anything; the gateway starts all the same. */
class SinkFault extends Error {
  override readonly name = 'SinkFault'
  readonly code: 'SINK_FILE_UNREADABLE' | 'SINK_PACKAGE_MISSING'

  constructor(code: SinkFault['code'], message: string) {
    super(message)
    this.code = code
  }
}

/**
 * Magic numbers of the kernel's virtual file systems (proc, sysfs, control groups): permissions
 * there mean nothing, no folder can be created.
 */
const MADE_UP_FILE_SYSTEMS = new Set([0x9fa0, 0x6265_6572, 0x27_e0eb, 0x6367_7270])

/** @throws StartRefusedError, or the one fault that there is */
export async function refuseEarly(config: Config): Promise<void> {
  const faults = await listenerFaults(config.mqtt)
  // Where a gateway runs already, the owner of the folder says more than a port that is taken.
  if ((await runningOwner(config.gateway.dataDir)) === null)
    faults.push(...(await addressFaults(config)))
  const [first] = faults
  if (first !== undefined && faults.length === 1) throw first
  if (faults.length > 0) throw new StartRefusedError(faults)
}

/**
 * The gateway that owns the folder, as far as this process can see; a command owns it only briefly.
 */
async function runningOwner(dataDir: string): Promise<Owner | null> {
  const owner = await currentOwner(dataDir).catch(() => null)
  return owner === null || owner.brief ? null : owner
}

/**
 * For `sluice check`: everything but the ports, which a running gateway may rightly hold.
 */
export async function findFaults(config: Config): Promise<Error[]> {
  return [
    ...(await listenerFaults(config.mqtt)),
    ...folderFaults(config.gateway.dataDir),
    ...packageFaults(config),
    ...secretFaults(config),
    ...(await usersFaults(config)),
  ]
}

async function addressFaults(config: Config): Promise<Error[]> {
  const admin = await adminAddressFault(config.admin)
  return [...(await portFaults(config.mqtt)), ...(admin === null ? [] : [admin])]
}

/** Enough to tell a slow disk from a slow moment. */
const SYNCED_WRITES = 8

/**
 * For `sluice check --try` and `sluice doctor`: binds the addresses and releases them, writes a file
 * and removes it, asks each sink but those of `untried`.
 */
export async function tryOut(config: Config, untried: readonly string[] = []): Promise<Trial> {
  const { dataDir } = config.gateway
  const owner = await runningOwner(dataDir)
  const addressesTried = owner === null ? await addressFaults(config) : []
  const folder = existsSync(dataDir) ? await tryFolder(dataDir) : null
  const probes = Object.entries(config.sinks)
    .filter(([name]) => !untried.includes(name))
    .map(([name, sink]) => sinkTypeOf(sink).probe({ name, config: sink, dataDir }))
  return {
    ownerPid: owner?.pid ?? null,
    addressFaults: addressesTried,
    folder,
    probes: await Promise.all(probes),
  }
}

async function tryFolder(dataDir: string): Promise<FolderTrial> {
  const path = join(dataDir, `try-${process.pid}.tmp`)
  try {
    const file = await open(path, 'wx', 0o600)
    try {
      const syncMs: number[] = []
      while (syncMs.length < SYNCED_WRITES) {
        const began = performance.now()
        await file.writeFile('sluice writes this for a moment\n')
        await file.sync()
        syncMs.push(performance.now() - began)
      }
      return { syncMs }
    } finally {
      await file.close()
      await rm(path, { force: true })
    }
  } catch (error) {
    return { fault: new FolderUnusableError(dataDir, error) }
  }
}

/**
 * The data folder, or the nearest one above it that is there: a folder in which this user may
 * write.
 */
function folderFaults(dataDir: string): Error[] {
  for (let path = dataDir; ; path = dirname(path)) {
    try {
      const isFolder = statSync(path).isDirectory()
      if (!isFolder) throw Object.assign(new Error(`ENOTDIR: ${path}`), { code: 'ENOTDIR', path })
      accessSync(path, constants.W_OK | constants.X_OK)
      if (!MADE_UP_FILE_SYSTEMS.has(statfsSync(path).type)) return []
      throw Object.assign(new Error(`ENOENT: ${dataDir}`), { code: 'ENOENT', path: dataDir })
    } catch (error) {
      if (!existsSync(path) && errorCode(error) === 'ENOENT' && dirname(path) !== path) continue
      return [new FolderUnusableError(dataDir, error)]
    }
  }
}

/** A gateway starts with them all the same; nobody could log in to its console. */
async function usersFaults({ admin: { usersFile } }: Config): Promise<Error[]> {
  if (usersFile === null) return []
  return readUsers(usersFile).then(
    () => [],
    (error: unknown) => {
      const why = errorMessage(error)
      return [new AdminError('ADMIN_USERS_UNREADABLE', `admin.usersFile: ${why}`)]
    },
  )
}

function packageFaults(config: Config): Error[] {
  return Object.entries(config.sinks).flatMap(([name, sink]) =>
    (sinkTypeOf(sink).packages ?? []).flatMap(({ fault }) =>
      fault === null ? [] : [new SinkFault('SINK_PACKAGE_MISSING', `sinks.${name}: ${fault}`)],
    ),
  )
}

function secretFaults(config: Config): Error[] {
  const { token } = config.admin
  const files: Array<readonly [key: string, path: string]> = Object.entries(config.sinks).flatMap(
    ([name, sink]) =>
      sinkTypeOf(sink)
        .files(sink)
        .map(([key, path]) => [`sinks.${name}.${key}`, path] as const),
  )
  if (token !== null && 'file' in token) files.unshift(['admin.token', token.file])
  return files.flatMap(([key, path]) => {
    const fault = fileFault(path)
    if (fault === null) return []
    const text = `${key}: ${path} ${fault}`
    return [
      key === 'admin.token'
        ? new AdminError('ADMIN_TOKEN_UNREADABLE', text)
        : new SinkFault('SINK_FILE_UNREADABLE', text),
    ]
  })
}

/** Why nothing can be had from a file, and what to do; null: something can. */
function fileFault(path: string): string | null {
  try {
    accessSync(path, constants.R_OK)
    const stats = statSync(path)
    if (stats.isDirectory()) return 'is a folder; name a file'
    // Its size may be told as 0 nevertheless. A pipe would wait for its writer.
    const isEmpty = stats.isFile() && stats.size === 0 && readFileSync(path).length === 0
    return isEmpty ? 'is empty; write into it what the key says' : null
  } catch (error) {
    return `cannot be read (${errorCode(error) ?? 'unknown'}); make it readable for the gateway`
  }
}
