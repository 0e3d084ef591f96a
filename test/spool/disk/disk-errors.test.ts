import { describe, expect, it } from 'vitest'
import {
  type DiskError,
  isReadFailure,
  judgeDiskError,
  systemErrorOf,
} from '../../../gateway/spool/disk/disk-errors.ts'

function system(code: string): Error {
  return Object.assign(new Error(`${code}: something, open '/data/spool/000003.log'`), { code })
}

/** As abstract-level gives what LevelDB said at an opening. */
function level(code: string | null, words: string): Error {
  const cause = Object.assign(new Error(words), code === null ? {} : { code })
  return Object.assign(new Error('Database failed to open', { cause }), {
    code: 'LEVEL_DATABASE_NOT_OPEN',
  })
}

const LOCK = 'IO error: lock /data/owner/LOCK'
const TABLE = 'IO error: /data/no space left on device/spool/000005.ldb'

const CASES: ReadonlyArray<readonly [string, Error, DiskError | null]> = [
  ['a checksum', level('LEVEL_CORRUPTION', 'Corruption: block checksum mismatch'), 'damage'],
  [
    'a table that is gone',
    level('LEVEL_IO_ERROR', `${TABLE}: No such file or directory`),
    'damage',
  ],
  [
    'a lock of another process',
    level('LEVEL_LOCKED', `${LOCK}: Resource temporarily unavailable`),
    'held',
  ],
  ['a lock of this process', level('LEVEL_LOCKED', `${LOCK}: already held by process`), 'held'],
  ['a lock, the other word of POSIX', level('LEVEL_LOCKED', `${LOCK}: Permission denied`), 'held'],
  ['no lock service', level('LEVEL_LOCKED', `${LOCK}: No locks available`), 'no-locks'],
  [
    'locks that do not exist',
    level('LEVEL_LOCKED', `${LOCK}: Function not implemented`),
    'no-locks',
  ],
  ['descriptors', level('LEVEL_IO_ERROR', `${TABLE}: Too many open files`), 'passing'],
  [
    'descriptors, musl',
    level('LEVEL_IO_ERROR', `${TABLE}: No file descriptors available`),
    'passing',
  ],
  ['EIO', level('LEVEL_IO_ERROR', `${TABLE}: Input/output error`), 'passing'],
  ['EIO, musl', level('LEVEL_IO_ERROR', `${TABLE}: I/O error`), 'passing'],
  ['memory', level('LEVEL_IO_ERROR', `${TABLE}: Cannot allocate memory`), 'passing'],
  [
    'words that nobody knows',
    level('LEVEL_IO_ERROR', `${TABLE}: Structure needs cleaning`),
    'passing',
  ],
  ['room', level('LEVEL_IO_ERROR', `${TABLE}: No space left on device`), 'full'],
  ['rights', level('LEVEL_IO_ERROR', `${TABLE}: Permission denied`), 'refused'],
  ['a read-only disk', level('LEVEL_IO_ERROR', `${TABLE}: Read-only file system`), 'refused'],
  ...[
    'EMFILE',
    'ENFILE',
    'ENOMEM',
    'ESTALE',
    'EIO',
    'EINTR',
    'ETIMEDOUT',
    'EAGAIN',
    'EBUSY',
    'EUCLEAN',
  ].map((code) => [code, system(code), 'passing'] as const),
  ...['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'ELOOP'].map(
    (code) => [code, system(code), 'refused'] as const,
  ),
  ...['ENOSPC', 'EDQUOT'].map((code) => [code, system(code), 'full'] as const),
  ['ENOLCK', system('ENOLCK'), 'no-locks'],
  [
    'a number without a name in libuv',
    Object.assign(new Error('x'), { code: 'Unknown system error -37', errno: -37 }),
    process.platform === 'linux' ? 'no-locks' : 'passing',
  ],
  [
    'a number that nobody knows',
    Object.assign(new Error('x'), { code: 'Unknown system error -117', errno: -117 }),
    'passing',
  ],
  ['a mistake of the program', new TypeError('x is not a function'), null],
  [
    'a handle that is closed',
    Object.assign(new Error('x'), { code: 'LEVEL_DATABASE_NOT_OPEN' }),
    null,
  ],
]

describe('I7, I8: only proof of damage is damage', () => {
  it.each(CASES)('%s', (_, error, kind) => {
    expect(judgeDiskError(error)).toBe(kind)
  })

  it('a read that failed may be a bad sector; one without descriptors is none', () => {
    expect(isReadFailure(level('LEVEL_IO_ERROR', `${TABLE}: Input/output error`))).toBe(true)
    expect(isReadFailure(system('EIO'))).toBe(true)
    expect(isReadFailure(level('LEVEL_IO_ERROR', `${TABLE}: Too many open files`))).toBe(false)
    expect(systemErrorOf(level('LEVEL_IO_ERROR', `${TABLE}: Too many open files`))).toBe('EMFILE')
  })
})
