/**
 * Why a data folder cannot be used, in words for who has to do something about it. Typed; each with
 * its path and a fix.
 */
import { lstatSync, readlinkSync, statSync } from 'node:fs'
import { errorMessage } from '../../shared/errors.ts'
import { describeError, judgeDiskError, systemErrorOf } from './disk-errors.ts'

/** Whom owner.json names. */
interface NamedOwner {
  readonly pid: number
  readonly since: string
  readonly host: string | null
  readonly brief: boolean
}

/** Another process owns the folder, whether this one can see it or not. */
export class FolderInUseError extends Error {
  readonly code = 'SLUICE_FOLDER_IN_USE'
  readonly retryable = false
  /** null: it runs where this process cannot see it. */
  readonly pid: number | null
  /** A command that ends by itself has it, or somebody who has not said yet who it is. */
  readonly isBrief: boolean

  /** `seen`: the named process runs where this one can see it. */
  constructor(dataDir: string, named: NamedOwner | null, seen: boolean) {
    super(`the data folder ${dataDir} is in use by ${whoHolds(named, seen)}`)
    this.name = 'FolderInUseError'
    this.pid = seen ? (named?.pid ?? null) : null
    this.isBrief = named === null || (seen && named.brief)
  }
}

function whoHolds(named: NamedOwner | null, seen: boolean): string {
  const own = 'or give this gateway a gateway.dataDir of its own'
  if (named !== null && seen && named.brief) {
    return `process ${named.pid} (since ${named.since}), a command of sluice: let it end, and try again`
  }
  if (named !== null && seen) {
    return `process ${named.pid} (since ${named.since}): stop that one first (kill ${named.pid}), ${own}`
  }
  const name =
    named === null
      ? ''
      : ` (${named.host === null ? '' : `host ${named.host}, `}process ${named.pid} there, since ${named.since})`
  return (
    `a process that this one cannot see, for instance in another container or on another host${name}: ` +
    `stop it there first, ${own}`
  )
}

/** Without locks nobody can tell whether a second gateway has the folder. */
export class NoLocksError extends Error {
  readonly code = 'SLUICE_NO_LOCKS'
  readonly retryable = false

  constructor(dataDir: string, cause: unknown) {
    super(
      `the file system of ${dataDir} gives no file locks (${systemErrorOf(cause) ?? describeError(cause)}), so that nothing ` +
        'would keep a second gateway out: use a local disk (ext4, xfs, f2fs); on NFS run the lock service (rpc.statd, ' +
        'and no nolock among the mount options), on SMB and FUSE allow byte range locks',
      { cause },
    )
    this.name = 'NoLocksError'
  }
}

/**
 * Rights, or the kind of file or file system, forbid to use the folder. Nothing in it was changed.
 */
export class FolderUnusableError extends Error {
  readonly code = 'SLUICE_FOLDER_UNUSABLE'
  readonly retryable = false

  constructor(dataDir: string, cause: unknown) {
    super(`the data folder ${dataDir} cannot be used: ${whyUnusable(dataDir, cause)}`, { cause })
    this.name = 'FolderUnusableError'
  }
}

/** An error of the disk that refuses the folder, in words; any other as it is. */
export function folderError(dataDir: string, error: unknown): unknown {
  if (error instanceof FolderInUseError || error instanceof NoLocksError) return error
  switch (judgeDiskError(error)) {
    case 'held':
      return new FolderInUseError(dataDir, null, false)
    case 'no-locks':
      return new NoLocksError(dataDir, error)
    case 'refused':
      return new FolderUnusableError(dataDir, error)
    default:
      return error
  }
}

function whyUnusable(dataDir: string, cause: unknown): string {
  const path = pathOf(cause) ?? dataDir
  const errno = systemErrorOf(cause)
  switch (errno) {
    case 'EACCES':
    case 'EPERM':
      return withoutRights(dataDir, path, errno)
    case 'EROFS':
      return (
        `${path} is on a read-only file system: mount it writable, or set gateway.dataDir to another one. A file system that ` +
        'met errors makes itself read-only; the log of the kernel (dmesg) says why'
      )
    case 'ENOTDIR':
    case 'EEXIST':
      return `${notAFolder(path)}: remove or rename it, or set gateway.dataDir to a folder`
    case 'EISDIR':
      return `${path} is a folder where a file belongs: remove or rename it`
    case 'ELOOP':
      return `${path} is a link that leads to itself: mend it, or set gateway.dataDir to a folder`
    case 'ENAMETOOLONG':
      return `the name ${path} is too long: set gateway.dataDir to a shorter one`
    case 'ENOENT':
      return `${danglingLink(path) ?? `${path} cannot be made there`}: set gateway.dataDir to a folder on a disk`
    case 'EINVAL':
    case 'ENOTSUP':
    case 'EOPNOTSUPP':
    case 'ENOSYS':
      return (
        `the file system of ${path} cannot make names durable (${errno}${callOf(cause)}), without which an acknowledged ` +
        'message does not outlive a power cut: use a local disk (ext4, xfs, f2fs), not SMB or CIFS'
      )
    default:
      return errorMessage(cause)
  }
}

function withoutRights(dataDir: string, path: string, errno: string): string {
  const me = process.geteuid?.()
  const owner = ownerOf(path) ?? ownerOf(dataDir)
  const who = me === undefined ? 'this user' : `user ${me}`
  if (me === undefined || owner === null || owner === me) {
    return `${who} may not use ${path} (${errno}): give it the rights to read and write there`
  }
  return (
    `${who} may not use ${path} (${errno}), which belongs to user ${owner}: give all of it to the user of the gateway ` +
    `(chown -R ${me} ${dataDir}), or run this as user ${owner}`
  )
}

function ownerOf(path: string): number | null {
  try {
    return lstatSync(path).uid
  } catch {
    return null
  }
}

function notAFolder(path: string): string {
  return danglingLink(path) ?? `${path}, or what is above it, is a file and no folder`
}

function danglingLink(path: string): string | null {
  try {
    if (!lstatSync(path).isSymbolicLink()) return null
    if (statSync(path, { throwIfNoEntry: false }) !== undefined) return null
    return `${path} is a link to ${readlinkSync(path)}, which is not there`
  } catch {
    return null
  }
}

/** Which file it was about: LevelDB says it in words. */
function pathOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null
  if ('path' in error && typeof error.path === 'string') return error.path
  const inWords = /^IO error: (?:lock )?(\/.+): [^:]+$/.exec(error.message)?.[1]
  return inWords ?? pathOf(error.cause)
}

function callOf(error: unknown): string {
  return error instanceof Error && 'syscall' in error && typeof error.syscall === 'string'
    ? ` of ${error.syscall}`
    : ''
}
