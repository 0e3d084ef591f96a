/**
 * The admin token as it is now: a secret file is read at every use, so a changed one counts at
 * once.
 */
import { errorCode } from '../../shared/errors.ts'
import { readSecret, type Secret } from '../../shared/secret-file.ts'
import { AdminError } from '../errors.ts'

/**
 * null: none is configured. An unreadable or empty file lets nobody in.
 * @throws AdminError ADMIN_TOKEN_UNREADABLE
 */
export async function readToken(secret: Secret | null): Promise<string | null> {
  if (secret === null) return null
  const token = await readSecret(secret).catch((error: unknown) => {
    throw new AdminError(
      'ADMIN_TOKEN_UNREADABLE',
      `admin.token's file cannot be read (${errorCode(error) ?? 'unknown error'}): nobody is let in`,
    )
  })
  if (token === '')
    throw new AdminError('ADMIN_TOKEN_UNREADABLE', 'the admin token is empty: nobody is let in')
  return token
}
