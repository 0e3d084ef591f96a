/** A password hash with the least parameters that the file allows: some milliseconds, for tests that are not about time. */
import { randomBytes, scryptSync } from 'node:crypto'

export function quickHash(password: string): string {
  const salt = randomBytes(16)
  const hash = scryptSync(password, salt, 32, { N: 1_024, r: 8, p: 1 })
  return `scrypt$N=1024,r=8,p=1$${salt.toString('base64')}$${hash.toString('base64')}`
}
