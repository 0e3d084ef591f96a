/**
 * The admin token as it is now: a secret file is read at every use, so a changed one counts at
 * once.
 */
import { readFile } from 'node:fs/promises'
import type { Secret } from '../shared/secret.ts'
import { AdminError } from './errors.ts'

/**
 * null: none is configured. An unreadable or empty file serves nobody: it must not open the door.
 * @throws AdminError ADMIN_TOKEN_UNREADABLE
 */
export async function readToken(secret: Secret | null): Promise<string | null> {
  if (secret === null) return null
  const token = 'value' in secret ? secret.value : await readTokenFile(secret.file)
  if (token === '')
    throw new AdminError('ADMIN_TOKEN_UNREADABLE', 'the admin token is empty: nobody is let in')
  return token
}

async function readTokenFile(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).replace(/\r?\n$/, '')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error'
    throw new AdminError(
      'ADMIN_TOKEN_UNREADABLE',
      `admin.token's file cannot be read (${code}): nobody is let in`,
    )
  }
}
