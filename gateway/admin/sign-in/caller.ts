/** Who asks, and what a role may. */

/** A viewer looks; an operator does everything. */
export type Role = 'viewer' | 'operator'

export const ROLES: readonly Role[] = ['viewer', 'operator']

export interface Caller {
  /** null: without a name, by token, loopback or socket. */
  readonly user: string | null
  readonly role: Role
  readonly via: 'loopback' | 'token' | 'login' | 'socket'
}

export function mayDo(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) >= ROLES.indexOf(needed)
}
