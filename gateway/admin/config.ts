/** Configuration of the admin server: metrics, health, status, the operator's actions. */
import { host, integer, secret } from '../config/fields.ts'
import type { Report } from '../config/problems.ts'
import { leaf, nullable, type Schema, section } from '../config/schema.ts'
import { isLoopback } from '../shared/hosts.ts'
import type { Secret } from '../shared/secret-file.ts'

export interface AdminConfig {
  readonly host: string
  readonly port: number
  readonly token: Secret | null
}

export const adminSection: Schema<AdminConfig> = section('The admin server.', {
  host: leaf(
    host(
      'Address to listen on. On one other than loopback and without a token: /, /metrics, /livez and /readyz only.',
    ),
  ).prefault('127.0.0.1'),
  port: leaf(integer('Port to listen on; 0: a free one.', { min: 0, max: 65_535 })).prefault(9464),
  token: nullable(
    secret(
      'Bearer token for everything under /api. null: none, so /api is served on loopback only.',
      (value) =>
        /^[\x21-\x7e]+$/.test(value) ? null : 'use visible ASCII characters without spaces',
    ),
  ).prefault(null),
})

/** Who could read what the server gives. */
export function checkAdmin({ host: address, token }: AdminConfig, report: Report): void {
  if (isLoopback(address)) return
  const path = ['admin', 'host']
  if (token === null)
    report.warn(
      path,
      `on ${address} without a token only /, /metrics, /livez and /readyz are served; set admin.token for the rest`,
    )
  else
    report.warn(
      path,
      `the token crosses the network unencrypted on ${address}; put a TLS proxy before it`,
    )
}
