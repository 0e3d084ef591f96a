/**
 * What the admin server tells the world: what operators changed, what it refused, what failed. A
 * request that only looks is counted (stats.ts) and not told.
 */

export type AdminEvent =
  /** An operator changed something. */
  | {
      readonly type: 'admin.changed'
      readonly path: string
      readonly remote: string
      /** null: by token, on loopback or through the socket. */
      readonly user: string | null
    }
  | {
      readonly type: 'admin.login'
      /** null: by token. */
      readonly user: string | null
      readonly role: 'viewer' | 'operator'
      readonly remote: string
    }
  | { readonly type: 'admin.users-loaded'; readonly file: string; readonly users: number }
  /** The ones before stay; without any nobody can log in by name. */
  | { readonly type: 'admin.users-refused'; readonly file: string; readonly message: string }
  /** `refused`: the caller can put it right. `failed`: the gateway could not do it. */
  | {
      readonly type: 'admin.refused' | 'admin.failed'
      readonly code: string
      readonly message: string
      readonly method: string
      readonly path: string
      readonly remote: string
    }
  /** There is no socket in the data folder: commands ask the address instead. */
  | { readonly type: 'admin.no-socket'; readonly message: string; readonly url: string }

export type EmitAdminEvent = (event: AdminEvent) => void
