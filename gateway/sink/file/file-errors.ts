/**
 * What keeps a batch from being written, what it means, and what to do about it, in words. Nothing
 * here is ever the records' fault: everything is kept (I8). Held is what somebody has to see to, or
 * what the disk's return ends; retried is what passes by itself.
 */
import { join } from 'node:path'
import { errorMessage, systemCode } from '../../shared/errors.ts'

/** The folder is not as it must be before anything is written. */
export class FolderFault extends Error {
  override readonly name = 'FolderFault'
  /** As the system has it. */
  readonly code: string
  /** What to do; without it, what the code tells. */
  readonly hint: string | undefined

  constructor(
    code: string,
    message: string,
    { hint, cause }: { readonly hint?: string; readonly cause?: unknown } = {},
  ) {
    super(message, { cause })
    this.code = code
    this.hint = hint
  }
}

/** A file of this name has other bytes: another gateway's, or this one's before a rollback. */
export class OtherBytesError extends Error {
  override readonly name = 'OtherBytesError'

  constructor(path: string) {
    super(
      `${path} is there with other bytes than this batch: a gateway with the same id wrote it, or ` +
        'this spool was rolled back to an earlier state, or somebody changed the file; look into ' +
        'it and move it away',
    )
  }
}

/** Nobody waits for the file any more. */
export class AbandonedError extends Error {
  override readonly name = 'AbandonedError'
}

export function noMarker(folder: string, marker: string): FolderFault {
  const hint = `mount the disk; if it is mounted: touch ${join(folder, marker)}`
  return new FolderFault('ENOENT', `${folder} holds no ${marker}`, { hint })
}

export function noRoom(
  folder: string,
  { free, bytes, minFreeBytes }: Readonly<Record<'free' | 'bytes' | 'minFreeBytes', number>>,
): FolderFault {
  const left = minFreeBytes === 0 ? '' : `, and minFreeBytes (${minFreeBytes}) stay free`
  const words = `${folder} has ${free} bytes free, this batch takes ${bytes}${left}`
  return new FolderFault('ENOSPC', words)
}

export function faultOf(error: unknown): FolderFault {
  return new FolderFault(systemCode(error) ?? 'unknown', errorMessage(error), { cause: error })
}

/** What to do, of what does not pass by itself. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'mount the disk, or make the folder: the gateway never does'],
  ['ENOTDIR', 'set folder to a folder'],
  ['ENODEV', 'mount the disk again'],
  ['ENXIO', 'mount the disk again'],
  ['ENOTCONN', 'mount it again: what serves this file system has ended'],
  ['ENOSPC', 'make room there: nothing that was written is removed by the gateway'],
  ['EDQUOT', 'make room there, or raise the quota'],
  [
    'EROFS',
    'under systemd, name it in ReadWritePaths= of the unit; else mount it writable (dmesg may say why it is not)',
  ],
  ['EACCES', 'give the gateway the right to write there'],
  ['EPERM', 'give the gateway the right to write there'],
  ['ENAMETOOLONG', 'this file system takes no names of that length'],
  ['EINVAL', 'this file system does not take such a name or file'],
  ['ELOOP', 'the path leads back to itself through a link'],
  ['EISDIR', 'a folder stands where the file belongs: move it away'],
  ['EFBIG', 'this file system, or a limit of the process, takes no file of that size'],
])

interface FileTrouble {
  readonly kind: 'hold' | 'retry'
  readonly code: string | null
  readonly detail: string
}

export function troubleOf(error: unknown): FileTrouble {
  if (error instanceof AbandonedError) return { kind: 'retry', code: null, detail: error.message }
  if (error instanceof OtherBytesError) return { kind: 'hold', code: null, detail: error.message }
  const code = error instanceof FolderFault ? error.code : systemCode(error)
  const detail = errorMessage(error)
  const own = error instanceof FolderFault ? error.hint : undefined
  const hint = own ?? (code === null ? undefined : HINTS.get(code))
  return hint === undefined
    ? { kind: 'retry', code, detail }
    : { kind: 'hold', code, detail: `${detail}; ${hint}` }
}
