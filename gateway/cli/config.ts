/**
 * What commands read of the configuration. The keys belong to the stages; the composition loads the
 * whole and hands over what is used here.
 */
import type { Secret } from '../shared/secret-file.ts'

export interface CliConfig {
  readonly gateway: { readonly dataDir: string; readonly stopTimeout: number }
  readonly admin: AdminPlace
  readonly mqtt: {
    readonly auth: PasswordPlace | null
    readonly listeners: readonly ListenerPlace[]
  }
  readonly streams: Readonly<Record<string, StreamLimits>>
  readonly spool: { readonly commitInterval: number; readonly minFreeBytes: number }
}

export interface AdminPlace {
  readonly host: string
  readonly port: number
  readonly token: Secret | null
  readonly usersFile: string | null
}

interface PasswordPlace {
  readonly passwordFile: string | null
}

export interface ListenerPlace {
  readonly host: string
  readonly port: number
  readonly tls: object | null
  readonly websocket: boolean
  /** Overrides `mqtt.auth`; undefined: that one. */
  readonly auth?: PasswordPlace | null
}

interface StreamLimits {
  readonly topics: readonly string[]
  readonly maxBytes: number
  readonly maxAge: number | null
  readonly deadLetters: { readonly maxBytes: number }
}
