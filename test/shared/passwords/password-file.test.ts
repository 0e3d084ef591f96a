import { chmod, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  AuthFileError,
  hashPassword,
  parsePasswordFile,
  removeUser,
  SCRYPT_PARAMETERS,
  setPassword,
  verifyPassword,
} from '../../../gateway/shared/passwords/password-file.ts'
import { quickHash } from '../../broker/auth/quick-hash.ts'
import { temporaryFolder } from '../../broker/listeners/listener-fixture.ts'

async function verified(path: string, user: string, password: string): Promise<boolean | null> {
  const stored = parsePasswordFile(await readFile(path, 'utf8'), path).get(user)
  return stored === undefined ? null : verifyPassword(Buffer.from(password), stored)
}

function fault(text: string): string {
  try {
    parsePasswordFile(text, '/etc/sluice/users')
    return 'none'
  } catch (error) {
    expect(error).toBeInstanceOf(AuthFileError)
    return String(error)
  }
}

describe('password hashes', () => {
  test('verify the password and no other, with a salt of their own', async () => {
    const [one, two] = await Promise.all([hashPassword('pässword'), hashPassword('pässword')])
    expect(one).not.toBe(two)
    const stored = parsePasswordFile(`a:${one}`, 'f').get('a')
    if (stored === undefined) throw new Error('no such user')
    expect(await verifyPassword(Buffer.from('pässword'), stored)).toBe(true)
    expect(await verifyPassword(Buffer.from('password'), stored)).toBe(false)
    expect(await verifyPassword(new Uint8Array(0), stored)).toBe(false)
  })

  test('carry the parameters that OWASP names for 16 MiB', async () => {
    expect(SCRYPT_PARAMETERS).toEqual({ N: 2 ** 14, r: 8, p: 5 })
    expect(await hashPassword('x')).toMatch(
      /^scrypt\$N=16384,r=8,p=5\$[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=$/,
    )
  })

  test('of other parameters stay good', async () => {
    const stored = parsePasswordFile(`a:${quickHash('x')}`, 'f').get('a')
    if (stored === undefined) throw new Error('no such user')
    expect(stored.N).toBe(1_024)
    expect(await verifyPassword(Buffer.from('x'), stored)).toBe(true)
  })
})

describe('the password file', () => {
  const HASH = quickHash('x')

  test('may hold comments, blank lines, and line ends of other systems', () => {
    const users = parsePasswordFile(`\uFEFF# plant 3\r\n\r\npress 7:${HASH}\r\nb:${HASH}`, 'f')
    expect([...users.keys()]).toEqual(['press 7', 'b'])
    expect(parsePasswordFile('', 'f').size).toBe(0)
  })

  test.each([
    ['\nplain', '/etc/sluice/users:2: expected name:hash'],
    [`:${HASH}`, ':1: expected name:hash'],
    ['a:secret', ':1: user "a": expected scrypt$'],
    [`a:${HASH}\nb:${HASH}\na:${HASH}`, ':3: the user "a" is there twice'],
    [`a:${HASH.replace('N=1024', 'N=512')}`, 'N must be a power of two from 1024 on'],
    [`a:${HASH.replace('N=1024', 'N=1025')}`, 'N must be a power of two'],
    [`a:${HASH.replace('N=1024', 'N=1048576')}`, 'more than 128 MiB'],
    [`a:${HASH.replace('p=1', 'p=17')}`, 'p from 1 to 16'],
    [`a:${HASH.replace(/\$[^$]+\$/, '$c2hvcnQ=$')}`, 'expected scrypt$'],
    ['a:scrypt$N=1024,r=8,p=1$c2hvcnQ=$c2hvcnQ=', 'the salt must have 16 to 64 bytes'],
  ])('%j is refused: %s', (text, message) => {
    expect(fault(text)).toContain(message)
  })

  test('an error never shows what is behind the name', () => {
    expect(fault('a:my-plain-password')).not.toContain('my-plain-password')
  })
})

describe('sluice passwd', () => {
  test('makes the file with mode 0600, adds, changes, and leaves every other line as it is', async () => {
    const path = join(await temporaryFolder(), 'users')
    expect(await setPassword(path, 'press-7', 'first')).toBe('added')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const [line] = (await readFile(path, 'utf8')).split('\n')
    await writeFile(path, `# plant 3\n\n${line}\nother:${quickHash('x')}`)
    expect(await setPassword(path, 'press-7', 'second')).toBe('changed')
    expect(await setPassword(path, 'press-8', 'third')).toBe('added')
    const lines = (await readFile(path, 'utf8')).split('\n')
    expect(lines.map((text) => text.split(':')[0])).toEqual([
      '# plant 3',
      '',
      'press-7',
      'other',
      'press-8',
      '',
    ])
    expect(await verified(path, 'press-7', 'second')).toBe(true)
    expect(await verified(path, 'press-7', 'first')).toBe(false)
    expect(await verified(path, 'press-8', 'third')).toBe(true)
    expect(await verified(path, 'other', 'x')).toBe(true)
  })

  test('gives a role, keeps it when the password changes, and changes it when it is said', async () => {
    const path = join(await temporaryFolder(), 'users')
    const roleOf = async (user: string) =>
      parsePasswordFile(await readFile(path, 'utf8'), path, () => null).get(user)?.role
    await setPassword(path, 'vera', 'x', 'viewer')
    expect(await roleOf('vera')).toBe('viewer')
    await setPassword(path, 'vera', 'y')
    expect(await roleOf('vera')).toBe('viewer')
    await setPassword(path, 'vera', 'y', 'operator')
    expect(await roleOf('vera')).toBe('operator')
    await setPassword(path, 'press-7', 'z')
    expect(await roleOf('press-7')).toBeNull()
  })

  test('a file of people lets no device in', () => {
    expect(fault(`a:${quickHash('x')}:viewer`)).toContain('a file of people, not of devices')
  })

  test('removes a user, and says when there is none', async () => {
    const path = join(await temporaryFolder(), 'users')
    await writeFile(path, `a:${quickHash('x')}\nab:${quickHash('y')}\n`)
    expect(await removeUser(path, 'a')).toBe(true)
    expect(await removeUser(path, 'a')).toBe(false)
    expect(await verified(path, 'ab', 'y')).toBe(true)
    expect(await removeUser(join(await temporaryFolder(), 'none'), 'a')).toBe(false)
  })

  test('many at a time lose nothing, and leave no lock', async () => {
    const folder = await temporaryFolder()
    const path = join(folder, 'users')
    const users = ['a', 'b', 'c', 'd']
    await Promise.all(users.map(async (user) => setPassword(path, user, user)))
    const stored = parsePasswordFile(await readFile(path, 'utf8'), path)
    expect([...stored.keys()].sort()).toEqual(users)
    expect(await readdir(folder)).toEqual(['users'])
  })

  test('a lock that a killed writer left behind does not last', async () => {
    const path = join(await temporaryFolder(), 'users')
    await writeFile(`${path}.lock`, '')
    const longAgo = new Date(Date.now() - 60_000)
    await utimes(`${path}.lock`, longAgo, longAgo)
    expect(await setPassword(path, 'a', 'x')).toBe('added')
  })

  test('nor does one that it left while the clock was fifty years ahead', async () => {
    const path = join(await temporaryFolder(), 'users')
    await writeFile(`${path}.lock`, '')
    const ahead = new Date(Date.now() + 50 * 365 * 86_400_000)
    await utimes(`${path}.lock`, ahead, ahead)
    expect(await setPassword(path, 'a', 'x')).toBe('added')
  })

  test('keeps a group that may read, never the rights of others, and follows a symbolic link', async () => {
    const folder = await temporaryFolder()
    const path = join(folder, 'users')
    await writeFile(path, `a:${quickHash('x')}\n`)
    await chmod(path, 0o664)
    await symlink(path, join(folder, 'link'))
    await setPassword(join(folder, 'link'), 'b', 'y')
    expect((await stat(path)).mode & 0o777).toBe(0o640)
    expect(await verified(path, 'b', 'y')).toBe(true)
  })

  test('never overwrites a file that it does not understand', async () => {
    const path = join(await temporaryFolder(), 'users')
    await writeFile(path, 'something else\n')
    await expect(setPassword(path, 'a', 'x')).rejects.toThrow(`${path}:1: expected name:hash`)
    expect(await readFile(path, 'utf8')).toBe('something else\n')
  })

  test('leaves no temporary file behind when it fails', async () => {
    const folder = await temporaryFolder()
    await mkdir(join(folder, 'users'))
    await expect(setPassword(join(folder, 'users'), 'a', 'x')).rejects.toThrow()
    expect(await readdir(folder)).toEqual(['users'])
  })

  test.each([
    ['', 'x', 'the user name is empty'],
    ['a:b', 'x', 'must not contain a colon'],
    ['a\nb', 'x', 'control characters'],
    ['#a', 'x', 'must not begin with #'],
    [' a', 'x', 'white space'],
    ['a'.repeat(1_025), 'x', 'longer than 1024 bytes'],
    ['a', '', 'the password is empty'],
  ])('refuses user %j with password %j: %s', async (user, password, message) => {
    await expect(
      setPassword(join(await temporaryFolder(), 'users'), user, password),
    ).rejects.toThrow(message)
  })

  test('takes a user name at the limit', async () => {
    const path = join(await temporaryFolder(), 'users')
    expect(await setPassword(path, 'a'.repeat(1_024), 'x')).toBe('added')
  })
})
