/** Configuration of the admin server: metrics, health, status, the operator's actions. */
import { flag, host, integer, path, secret } from '../config/fields.ts'
import type { Report } from '../config/problems.ts'
import { changes, leaf, nullable, type Schema, section } from '../config/schema.ts'
import { isLoopback } from '../shared/hosts.ts'
import type { Secret } from '../shared/secret-file.ts'

export interface AdminConfig {
  readonly host: string
  readonly port: number
  readonly token: Secret | null
  /** Absolute path; null: none. */
  readonly usersFile: string | null
  readonly watchConfig: boolean
}

export const adminSection: Schema<AdminConfig> = section('The admin server.', {
  host: changes(
    'restart',
    leaf(
      host(
        'Address to listen on. On one other than loopback, without a token and users: /, /metrics, /livez and /readyz only.',
      ),
    ).prefault('127.0.0.1'),
  ),
  port: changes(
    'restart',
    leaf(integer('Port to listen on; 0: a free one.', { min: 0, max: 65_535 })).prefault(9464),
  ),
  token: nullable(
    secret(
      'Bearer token for everything under /api, with the rights of an operator. null: none; without users either, /api is served on loopback only.',
      (value) =>
        /^[\x21-\x7e]+$/.test(value) ? null : 'use visible ASCII characters without spaces',
    ),
  ).prefault(null),
  usersFile: nullable(
    path(
      'People who may log in to the console, each a viewer or an operator; "sluice passwd --role" writes it. null: nobody does, and on loopback nobody needs to.',
    ),
  ).prefault(null),
  watchConfig: leaf(
    flag(
      'The configuration file is applied by itself whenever it has changed, as by sluice reload.',
    ),
  ).prefault(false),
})

/** Who could read what the server gives. */
export function checkAdmin({ host: address, token, usersFile }: AdminConfig, report: Report): void {
  if (isLoopback(address)) return
  const key = ['admin', 'host']
  if (token === null && usersFile === null)
    report.warn(
      key,
      `on ${address} without a token and users only /, /metrics, /livez and /readyz are served; set admin.usersFile or admin.token for the rest`,
    )
  else
    report.warn(
      key,
      `tokens and passwords cross the network unencrypted on ${address}; put a TLS proxy before it`,
    )
}
