/**
 * What an error of the disk means. The one place that judges it: only proof of damage may lead to a
 * repair, to moving files or to counting records as corrupt (I7, I8). Everything else says that
 * something is in the way now; every byte stays where it is, and whoever wanted it refuses in
 * words, or tries again.
 *
 * Pure: looks at the error alone. LevelDB says in words what the system answered, and
 * abstract-level wraps that in an error of its own, so causes are read as well.
 */
import { errorCode, systemCode } from '../../shared/errors.ts'

/**
 * `damage`: bytes are not what was written, or a file is gone. `full`: no room. `held`: another process, or this one, has
 * the folder. `no-locks`: this file system gives no locks. `refused`: rights or the kind of file
 * forbid it, and waiting changes nothing. `passing`: the machine or the disk cannot do it now.
 * null: no error of the disk, but one of the program.
 */
export type DiskError = 'damage' | 'full' | 'held' | 'no-locks' | 'refused' | 'passing'

const FULL = new Set(['ENOSPC', 'EDQUOT'])

/**
 * EINVAL: a file system that cannot fsync a folder (CIFS). ENOENT: a folder above is not there, or
 * takes no folder.
 */
const REFUSED = new Set([
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOTDIR',
  'EISDIR',
  'EEXIST',
  'ELOOP',
  'ENAMETOOLONG',
  'ENOENT',
  'EINVAL',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
])

/** What a lock that somebody holds is answered with: fcntl(2). */
const HELD = new Set(['EAGAIN', 'EACCES'])

/** The words of glibc and of musl, as LevelDB gives them behind the file's name. */
const WORDS: Readonly<Record<string, string>> = {
  'no space left on device': 'ENOSPC',
  'disk quota exceeded': 'EDQUOT',
  'disc quota exceeded': 'EDQUOT',
  'quota exceeded': 'EDQUOT',
  'input/output error': 'EIO',
  'i/o error': 'EIO',
  'no such file or directory': 'ENOENT',
  'resource temporarily unavailable': 'EAGAIN',
  'no locks available': 'ENOLCK',
  'too many open files': 'EMFILE',
  'no file descriptors available': 'EMFILE',
  'too many open files in system': 'ENFILE',
  'permission denied': 'EACCES',
  'operation not permitted': 'EPERM',
  'read-only file system': 'EROFS',
  'cannot allocate memory': 'ENOMEM',
  'out of memory': 'ENOMEM',
  'stale file handle': 'ESTALE',
  'stale nfs file handle': 'ESTALE',
  'interrupted system call': 'EINTR',
  'connection timed out': 'ETIMEDOUT',
  'operation timed out': 'ETIMEDOUT',
  'not a directory': 'ENOTDIR',
  'is a directory': 'EISDIR',
  'file exists': 'EEXIST',
  'invalid argument': 'EINVAL',
  'function not implemented': 'ENOSYS',
  'operation not supported': 'EOPNOTSUPP',
  'not supported': 'EOPNOTSUPP',
  'device or resource busy': 'EBUSY',
  'resource busy': 'EBUSY',
}

const LEVELDB_REFUSAL = /^(?:Invalid argument|NotFound|Not implemented): /

export function judgeDiskError(error: unknown): DiskError | null {
  for (const each of causes(error)) {
    const code = errorCode(each)
    const errno = errnoOf(each)
    if (code === 'LEVEL_CORRUPTION') return 'damage'
    if (code === 'LEVEL_LOCKED') {
      if (each.message.endsWith('already held by process')) return 'held'
      return errno !== null && HELD.has(errno) ? 'held' : 'no-locks'
    }
    if (code === 'LEVEL_IO_ERROR' && errno === 'ENOENT') return 'damage'
    if (errno === 'ENOLCK') return 'no-locks'
    if (errno !== null) return FULL.has(errno) ? 'full' : REFUSED.has(errno) ? 'refused' : 'passing'
    // What LevelDB says of the bytes that it read.
    if (LEVELDB_REFUSAL.test(each.message)) return 'damage'
    if (code === 'LEVEL_IO_ERROR') return 'passing'
  }
  return null
}

/**
 * Bytes are damaged or a file is gone: the only reason to repair, to move files or to count records
 * as lost.
 */
export function isDamage(error: unknown): boolean {
  return judgeDiskError(error) === 'damage'
}

/** Does the error say that there is no room: disk full, or the user's quota? */
export function isFull(error: unknown): boolean {
  return judgeDiskError(error) === 'full'
}

/**
 * Will it pass, so that to wait and to try again is better than to refuse? A box may have nobody
 * who starts it again.
 */
export function isPassing(error: unknown): boolean {
  const kind = judgeDiskError(error)
  return kind === 'full' || kind === 'passing'
}

/**
 * The device failed to read (EIO), or a table is shorter than what leads into it (EINVAL of
 * LevelDB): may pass, and may be a bad sector, which fails again and again.
 */
export function isReadFailure(error: unknown): boolean {
  return causes(error).some((each) => {
    const errno = errnoOf(each)
    return errno === 'EIO' || (errno === 'EINVAL' && errorCode(each) === 'LEVEL_IO_ERROR')
  })
}

/** The system's error of this one and of what caused it: `ENOSPC`; null: none that is known. */
export function systemErrorOf(error: unknown): string | null {
  for (const each of causes(error)) {
    const errno = errnoOf(each)
    if (errno !== null) return errno
  }
  return null
}

/** In words, with its cause: LevelDB's own message alone says only what failed, not why. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}

function causes(error: unknown): Error[] {
  const all: Error[] = []
  for (let each = error; each instanceof Error && !all.includes(each); each = each.cause)
    all.push(each)
  return all
}

function errnoOf(error: Error): string | null {
  const code = systemCode(error)
  if (code !== null) return code
  // A name in the middle may hold any words; what the system said is at the end.
  const last = error.message
    .slice(error.message.lastIndexOf(': ') + 1)
    .trim()
    .toLowerCase()
  return WORDS[last] ?? null
}
