/**
 * The password file: who exists, and the salted slow hash of each password. One user a line,
 *
 *   name:scrypt$N=16384,r=8,p=5$<salt, base64>$<hash, base64>
 *
 * with blank lines and lines that begin with `#` between them; `:role` follows where users have
 * one. The parameters are in the line, so they can be raised later and old lines stay good.
 * `sluice passwd` writes it; the gateway reads it again when it changes.
 */

import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto'
import type { Stats } from 'node:fs'
import { open, readFile, realpath, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errorCode } from '../errors.ts'
import { syncFolder } from '../files.ts'

/**
 * A file of users or access rules that cannot be used: names the file, the line (1 is the first)
 * and the fault.
 */
export class AuthFileError extends Error {
  override readonly name = 'AuthFileError'
  readonly code:
    | 'AUTH_FILE_INVALID'
    | 'AUTH_FILE_UNREADABLE'
    | 'AUTH_FILE_BUSY'
    | 'AUTH_USER_INVALID'
  readonly path: string
  readonly line: number | null

  constructor(
    code: AuthFileError['code'],
    path: string,
    line: number | null,
    problem: string,
    cause?: unknown,
  ) {
    super(`${line === null ? path : `${path}:${line}`}: ${problem}`, { cause })
    this.code = code
    this.path = path
    this.line = line
  }
}

export interface PasswordHash {
  readonly N: number
  readonly r: number
  readonly p: number
  readonly salt: Buffer
  readonly hash: Buffer
}

interface KnownUser extends PasswordHash {
  readonly role: string | null
}

export type PasswordFile = ReadonlyMap<string, KnownUser>

/** What is wrong with a user's role in this file; null: nothing. */
type RoleFault = (role: string | null) => string | null

/** Devices have none: a file of people must not let them in by accident. */
const noRole: RoleFault = (role) =>
  role === null ? null : 'a role after the hash: this is a file of people, not of devices'

/**
 * OWASP Password Storage Cheat Sheet, section scrypt: N = 2^17, r = 8, p = 1, or the settings it
 * names as equally strong for less memory; of these N = 2^14, r = 8, p = 5, which takes 16 MiB: a
 * gateway has to live in 250 MB. About 0.15 s on the class of machine that this is made for.
 */
export const SCRYPT_PARAMETERS = { N: 16_384, r: 8, p: 5 } as const

/**
 * A sixteenth of that, 10 ms and 1 MiB: for what only repeats a check against a line of this file.
 */
export const QUICK_SCRYPT_PARAMETERS = { N: 1_024, r: 8, p: 5 } as const

/** NIST SP 800-132, section 5.1: at least 128 bits. */
const SALT_BYTES = 16
const HASH_BYTES = 32

/** What a line may ask for: bounds the time and memory of one login, whatever is in the file. */
const MIN_N = 1_024
const MAX_HASH_MEMORY_BYTES = 128 * 1024 * 1024
const MAX_P = 16

const MAX_USER_BYTES = 1_024

/**
 * How long a write waits for another one, and how old a lock must be to belong to a writer that was
 * killed, ms.
 */
const LOCK_WAIT_MS = 5_000
const LOCK_STALE_MS = 10_000
const LOCK_RETRY_MS = 25

const LINE =
  /^scrypt\$N=(\d{1,9}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]+={0,2})$/

/** Throws an {@link AuthFileError}; it never shows what is behind the user's name. */
export function parsePasswordFile(
  text: string,
  path: string,
  faultOfRole: RoleFault = noRole,
): PasswordFile {
  const users = new Map<string, KnownUser>()
  for (const [index, line] of linesOf(text).entries()) {
    if (isNotAUser(line)) continue
    const fail = (problem: string): never => {
      throw new AuthFileError('AUTH_FILE_INVALID', path, index + 1, problem)
    }
    const colon = line.indexOf(':')
    if (colon < 1) fail('expected name:hash; write this file with "sluice passwd"')
    const user = line.slice(0, colon)
    const fault = faultOfUser(user)
    if (fault !== null) fail(fault)
    if (users.has(user)) fail(`the user ${JSON.stringify(user)} is there twice`)
    const { hash: hashText, role } = hashAndRole(line.slice(colon + 1))
    const hash = parseHash(hashText)
    if (typeof hash === 'string') fail(`user ${JSON.stringify(user)}: ${hash}`)
    else users.set(user, { ...hash, role })
    const wrong = faultOfRole(role)
    if (wrong !== null) fail(`user ${JSON.stringify(user)}: ${wrong}`)
  }
  return users
}

/** A hash has no colon: base64 has none. */
function hashAndRole(text: string): { readonly hash: string; readonly role: string | null } {
  const [hash = '', ...rest] = text.split(':')
  return { hash, role: rest.length === 0 ? null : rest.join(':') }
}

function parseHash(text: string): PasswordHash | string {
  const match = LINE.exec(text)
  if (match === null) return 'expected scrypt$N=..,r=..,p=..$salt$hash; set it with "sluice passwd"'
  const [, n, rText, pText, saltText = '', hashText = ''] = match
  const [N, r, p] = [Number(n), Number(rText), Number(pText)]
  if (N < MIN_N || !Number.isInteger(Math.log2(N)))
    return `N must be a power of two from ${MIN_N} on`
  if (r < 1 || p < 1 || p > MAX_P) return `r must be at least 1, p from 1 to ${MAX_P}`
  if (128 * N * r > MAX_HASH_MEMORY_BYTES) return 'N and r ask for more than 128 MiB of memory'
  const salt = Buffer.from(saltText, 'base64')
  const hash = Buffer.from(hashText, 'base64')
  if (salt.length < SALT_BYTES || salt.length > 64)
    return `the salt must have ${SALT_BYTES} to 64 bytes`
  if (hash.length < HASH_BYTES || hash.length > 64)
    return `the hash must have ${HASH_BYTES} to 64 bytes`
  return { N, r, p, salt, hash }
}

/** What stands behind `name:` in the file. Takes about 0.15 s of a thread of the pool. */
export async function hashPassword(password: string | Uint8Array): Promise<string> {
  return hashWith(password, SCRYPT_PARAMETERS)
}

/** The same at a sixteenth of the cost. */
export async function quickPasswordHash(password: Uint8Array): Promise<string> {
  return hashWith(password, QUICK_SCRYPT_PARAMETERS)
}

/** What {@link hashPassword} made; null: it is none of those. */
export function readPasswordHash(text: string): PasswordHash | null {
  const hash = parseHash(text)
  return typeof hash === 'string' ? null : hash
}

async function hashWith(
  password: string | Uint8Array,
  parameters: Pick<PasswordHash, 'N' | 'r' | 'p'>,
): Promise<string> {
  const { N, r, p } = parameters
  const salt = randomBytes(SALT_BYTES)
  const hash = await derive(password, salt, HASH_BYTES, parameters)
  return `scrypt$N=${N},r=${r},p=${p}$${salt.toString('base64')}$${hash.toString('base64')}`
}

/** Compares in constant time. Takes what the line's parameters ask for, right or wrong. */
export async function verifyPassword(password: Uint8Array, stored: PasswordHash): Promise<boolean> {
  const hash = await derive(password, stored.salt, stored.hash.length, stored)
  return timingSafeEqual(hash, stored.hash)
}

/** A hash that no password has, as slow as `like`: what an unknown user is compared with. */
export function unmatchableHash(
  like: Pick<PasswordHash, 'N' | 'r' | 'p'> = SCRYPT_PARAMETERS,
): PasswordHash {
  const { N, r, p } = like
  return { N, r, p, salt: randomBytes(SALT_BYTES), hash: randomBytes(HASH_BYTES) }
}

/**
 * Adds the user or changes the password; every other line stays as it is. `role` null: the one that
 * the user has, none for a new one. The file is replaced in
 * one step and is on disk when this returns. A new file has mode 0600; an existing one keeps its
 * owner, and its mode without the rights of others. Throws an {@link AuthFileError} when the file
 * is broken or the name or password cannot be used.
 */
export async function setPassword(
  path: string,
  user: string,
  password: string,
  role: string | null = null,
): Promise<'added' | 'changed'> {
  const fault = faultOfUser(user) ?? (password === '' ? 'the password is empty' : null)
  if (fault !== null) throw new AuthFileError('AUTH_USER_INVALID', path, null, fault)
  const hash = await hashPassword(password)
  return rewrite(path, (lines) => {
    const index = lines.findIndex((known) => isLineOf(known, user))
    const known = lines[index]?.slice(user.length + 1) ?? ''
    const given = role ?? hashAndRole(known).role
    const line = `${user}:${hash}${given === null ? '' : `:${given}`}`
    if (index < 0) lines.push(line)
    else lines[index] = line
    return index < 0 ? 'added' : 'changed'
  })
}

/** Returns false if there is no such user; the file is not touched then. */
export async function removeUser(path: string, user: string): Promise<boolean> {
  return rewrite(path, (lines) => {
    const index = lines.findIndex((known) => isLineOf(known, user))
    if (index < 0) return false
    lines.splice(index, 1)
    return true
  })
}

async function derive(
  password: string | Uint8Array,
  salt: Uint8Array,
  bytes: number,
  { N, r, p }: Pick<PasswordHash, 'N' | 'r' | 'p'>,
): Promise<Buffer> {
  const options: ScryptOptions = { N, r, p, maxmem: 128 * N * r + 128 * r * p + 1024 * 1024 }
  return new Promise((resolve, reject) => {
    scrypt(password, salt, bytes, options, (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
}

/**
 * `change` answers false: nothing is written. One writer at a time, so that none undoes another's change.
 */
async function rewrite<T>(path: string, change: (lines: string[]) => T): Promise<T> {
  const target = await realpath(path).catch(() => path)
  const unlock = await lock(`${target}.lock`, path)
  try {
    const before = await stateOf(target)
    const text = before === null ? '' : await readFile(target, 'utf8')
    parsePasswordFile(text, path, () => null)
    const lines = linesOf(text)
    if (lines.at(-1) === '') lines.pop()
    const outcome = change(lines)
    if (outcome !== false) await replace(target, lines.map((line) => `${line}\n`).join(''), before)
    return outcome
  } finally {
    await unlock()
  }
}

async function lock(lockPath: string, path: string): Promise<() => Promise<void>> {
  const deadline = performance.now() + LOCK_WAIT_MS
  for (;;) {
    try {
      await (await open(lockPath, 'wx', 0o600)).close()
      return async () => unlink(lockPath)
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw unwritable(path, error)
    }
    const age = await stat(lockPath).then(
      // From the future, if the clock was set back since: no writer holds it for so long either way.
      ({ mtimeMs }) => Math.abs(Date.now() - mtimeMs),
      () => 0,
    )
    if (age > LOCK_STALE_MS) {
      await unlink(lockPath).catch(() => {})
    } else if (performance.now() > deadline) {
      throw new AuthFileError(
        'AUTH_FILE_BUSY',
        path,
        null,
        `somebody else is writing this file (${lockPath})`,
      )
    } else {
      await sleep(LOCK_RETRY_MS)
    }
  }
}

async function stateOf(path: string): Promise<Stats | null> {
  try {
    return await stat(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null
    throw new AuthFileError('AUTH_FILE_UNREADABLE', path, null, String(error), error)
  }
}

/**
 * Temporary file, fsync, rename, fsync of the folder: after a power cut the file is the old one or
 * the new one.
 */
async function replace(path: string, text: string, before: Stats | null): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      if (before !== null) {
        // Without this, root's "sluice passwd" would leave a file that the gateway's user cannot
        // read.
        await file.chown(before.uid, before.gid).catch(() => {})
        await file.chmod((before.mode & 0o640) | 0o600)
      }
      await file.writeFile(text)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw unwritable(path, error)
  }
  await syncFolder(dirname(path))
}

function unwritable(path: string, error: unknown): AuthFileError {
  return new AuthFileError(
    'AUTH_FILE_UNREADABLE',
    path,
    null,
    `cannot be written (${String(error)})`,
    error,
  )
}

/** Lines without their ends; a byte order mark and carriage returns of other systems go. */
export function linesOf(text: string): string[] {
  return text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map((line) => line.replace(/\r$/, ''))
}

function isNotAUser(line: string): boolean {
  return line.trim() === '' || line.startsWith('#')
}

function isLineOf(line: string, user: string): boolean {
  return !isNotAUser(line) && line.startsWith(`${user}:`)
}

function faultOfUser(user: string): string | null {
  if (user === '') return 'the user name is empty'
  if (Buffer.byteLength(user) > MAX_USER_BYTES)
    return `the user name is longer than ${MAX_USER_BYTES} bytes`
  if (user.startsWith('#')) return 'a user name must not begin with #'
  if (user !== user.trim()) return 'a user name must not begin or end with white space'
  return /[:\p{Cc}]/u.test(user)
    ? 'a user name must not contain a colon or control characters'
    : null
}
