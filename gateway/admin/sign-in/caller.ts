/** Who asks, what a role may, and where nobody has to say who he is. */
import { isLoopback } from '../../shared/hosts.ts'
import type { AdminConfig } from '../config.ts'

/** A viewer looks; an operator does everything. */
export type Role = 'viewer' | 'operator'

export const ROLES: readonly Role[] = ['viewer', 'operator']

export interface Caller {
  /** null: without a name, by token, loopback or socket. */
  readonly user: string | null
  readonly role: Role
  readonly via: 'loopback' | 'token' | 'login' | 'socket'
}

/** Whoever reaches the machine itself is an operator: neither a token nor users are configured. */
export function trustsLoopback({
  host,
  token,
  usersFile,
}: Pick<AdminConfig, 'host' | 'token' | 'usersFile'>): boolean {
  return token === null && usersFile === null && isLoopback(host)
}

export function mayDo(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed)
}
