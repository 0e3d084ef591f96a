/** The files that samples of keys name, in a folder that is removed: each twice, so that it can change. */
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isMap } from '../../gateway/config/schema.ts'
import { setPassword } from '../../gateway/shared/passwords/password-file.ts'
import { sourcePath } from '../support/source-path.ts'
import { temporaryFolder } from '../support/spool-fixture.ts'

/** By the last part of the key. */
const NAMES: Readonly<Record<string, string>> = {
  ca: 'authority.pem',
  cert: 'server.pem',
  key: 'server.key',
  passwordFile: 'passwords',
  aclFile: 'acl',
  usersFile: 'users',
  credentialsFile: 'credentials',
  credentials: 'credentials',
  file: 'secret',
  folder: 'outbox',
  dataDir: 'data',
}

export class NamedFiles {
  readonly #folder: string
  readonly remove: () => Promise<void>

  private constructor(folder: string, remove: () => Promise<void>) {
    this.#folder = folder
    this.remove = remove
  }

  static async make(): Promise<NamedFiles> {
    const { path, remove } = await temporaryFolder()
    const first = join(path, 'first')
    await mkdir(first)
    for (const name of ['authority.pem', 'server.pem', 'server.key'])
      await cp(sourcePath(join('test/support/tls', name)), join(first, name))
    await setPassword(join(first, 'passwords'), 'press-7', 'hunter2')
    await setPassword(join(first, 'users'), 'ada', 'hunter2', 'operator')
    await writeFile(join(first, 'acl'), 'pattern readwrite #\n')
    await writeFile(join(first, 'credentials'), '[default]\naws_access_key_id = a\n')
    await writeFile(join(first, 'secret'), 'hunter2\n')
    await mkdir(join(first, 'outbox'))
    await mkdir(join(first, 'data'))
    await cp(first, join(path, 'second'), { recursive: true })
    return new NamedFiles(path, remove)
  }

  /** The value of `key` with these files in place of those that it names. */
  named<Of>(value: Of, which: 'first' | 'second', key = ''): Of {
    const name = NAMES[key]
    if (typeof value === 'string' && value.startsWith('/') && name !== undefined)
      return join(this.#folder, which, name) as Of
    if (Array.isArray(value)) return value.map((item: unknown) => this.named(item, which)) as Of
    if (!isMap(value)) return value
    const entries = Object.entries(value)
    return Object.fromEntries(entries.map(([at, item]) => [at, this.named(item, which, at)])) as Of
  }
}
