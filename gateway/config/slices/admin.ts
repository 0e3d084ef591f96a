/** Configuration of the admin server: metrics, health, status, the operator's actions. */
import { integer, leaf, nullable, secret, section, text } from '../fields.ts'

export const HOST_WORDS = 'a host name or an IP address'

export const adminSlice = section('The admin server.', {
  host: leaf(
    text(
      'Address to listen on. Other than loopback and without a token: /, /metrics, /livez, /readyz only.',
      {
        wanted: HOST_WORDS,
        check: hostFix,
      },
    ),
  ).prefault('127.0.0.1'),
  port: leaf(integer('Port to listen on; 0: a free one.', { min: 0, max: 65_535 })).prefault(9464),
  token: nullable(
    secret('Bearer token for everything under /api. null: none, loopback only.', (value) =>
      /^[\x21-\x7e]+$/.test(value) ? null : 'use visible ASCII characters without spaces',
    ),
  ).prefault(null),
})

/** What to do about a host that is none, or null. */
export function hostFix(host: string): string | null {
  if (host.includes('://')) return 'write the host alone, without scheme and path'
  if (/^\[.*\]$/.test(host)) return `write ${host.slice(1, -1)} without brackets`
  if (/^(\d{1,3}\.){3}\d{1,3}:\d+$|^[^:]+:\d+$/.test(host))
    return 'write the port under the key port'
  return /^[0-9A-Za-z._:%-]+$/.test(host) ? null : `write ${HOST_WORDS}`
}
