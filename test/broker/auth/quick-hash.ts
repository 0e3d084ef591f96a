/**
 * A password hash with the least parameters that the file allows: some milliseconds, for tests that
 * are not about time.
 */
import { randomBytes, scryptSync } from 'node:crypto'

/** `N`: cost, a power of two from 1,024 on. */
export function quickHash(password: string, N = 1_024): string {
  const salt = randomBytes(16)
  const hash = scryptSync(password, salt, 32, { N, r: 8, p: 1 })
  return `scrypt$N=${N},r=8,p=1$${salt.toString('base64')}$${hash.toString('base64')}`
}
