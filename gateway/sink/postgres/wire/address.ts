/**
 * Where a database is: a connection string as libpq knows it, and the keys that stand for its
 * parts. Several hosts are tried in turn, so that the one that takes writes after a failover is
 * found. Passwords are no part of it. Pure.
 */
import { hostAndPort, isLoopback } from '../../../shared/hosts.ts'

export const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const
export type SslMode = (typeof SSL_MODES)[number]

export interface DatabaseHost {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string
  readonly port: number
}

interface DatabaseAddress {
  readonly hosts: readonly [DatabaseHost, ...DatabaseHost[]]
  readonly user: string
  readonly database: string
  readonly sslMode: SslMode
}

/** Keys that stand for a part of the URL; null: as the URL has it. */
export interface AddressParts {
  readonly url: string
  readonly host: string | null
  readonly port: number | null
  readonly database: string | null
  readonly user: string | null
  readonly sslMode: SslMode | null
}

interface ParsedUrl {
  readonly hosts: ReadonlyArray<{ readonly host: string; readonly port: number | null }>
  readonly user: string | null
  readonly database: string | null
  readonly sslMode: SslMode | null
}

const USUAL_PORT = 5432
const URL = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^/?#]*)(?:\/([^/?#]*))?(?:\?([^#]*))?$/
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._-]+))(?::(\d{1,5}))?$/

/** What to do about a URL that cannot be used; null: nothing. */
export function databaseUrlFix(text: string): string | null {
  const parsed = parseUrl(text)
  return 'fix' in parsed ? parsed.fix : null
}

/** @throws Error for a URL that {@link databaseUrlFix} refuses: a configuration was not checked */
export function addressOf(parts: AddressParts): DatabaseAddress {
  const parsed = parseUrl(parts.url)
  if ('fix' in parsed) throw new Error(`the URL of a database: ${parsed.fix}`)
  const { value } = parsed
  const named = parts.host === null ? value.hosts : [{ host: parts.host, port: null }]
  const [first, ...others] = named.map(({ host, port }) => ({
    host,
    port: parts.port ?? port ?? USUAL_PORT,
  }))
  const hosts = [first ?? { host: '127.0.0.1', port: parts.port ?? USUAL_PORT }, ...others] as const
  const user = parts.user ?? value.user ?? 'sluice'
  const usual = hosts.every(({ host }) => isThisBox(host)) ? 'disable' : 'verify-full'
  return {
    hosts,
    user,
    database: parts.database ?? value.database ?? user,
    sslMode: parts.sslMode ?? value.sslMode ?? usual,
  }
}

/** For people, without secrets. */
export function shownAddress({ hosts, user, database }: DatabaseAddress): string {
  const sockets = hosts.filter(({ host }) => isSocket(host))
  const named = hosts.filter(({ host }) => !isSocket(host))
  const list = named.map(({ host, port }) => hostAndPort(host, port)).join(',')
  const query = sockets.length === 0 ? '' : `?host=${sockets.map(({ host }) => host).join(',')}`
  return `postgresql://${encodeURIComponent(user)}@${list}/${encodeURIComponent(database)}${query}`
}

/** Can nobody on a network read what goes there? */
export function isThisBox(host: string): boolean {
  return isSocket(host) || isLoopback(host)
}

function isSocket(host: string): boolean {
  return host.startsWith('/')
}

function parseUrl(text: string): { readonly value: ParsedUrl } | { readonly fix: string } {
  const [, login, list = '', database = '', query = ''] = URL.exec(text) ?? []
  if (URL.exec(text) === null)
    return { fix: 'write a URL such as postgresql://sluice@db.example:5432/plant' }
  if (login?.includes(':') === true)
    return { fix: 'take the password out of the URL; use the key password' }
  const hosts = hostsOf(list)
  if (hosts === null) return { fix: 'write hosts as db1.example:5432, separated by commas' }
  const read = parametersOf(query)
  if ('fix' in read) return read
  return {
    value: {
      hosts: read.host === null ? hosts : [{ host: read.host, port: null }],
      user: decoded(login),
      database: decoded(database),
      sslMode: read.sslMode,
    },
  }
}

function hostsOf(list: string): ParsedUrl['hosts'] | null {
  if (list === '') return []
  const found = list.split(',').map((one) => HOST.exec(one))
  if (found.includes(null)) return null
  return found.map((one) => ({
    host: one?.[1] ?? one?.[2] ?? '',
    port: one?.[3] === undefined ? null : Number(one[3]),
  }))
}

function parametersOf(
  query: string,
): { readonly host: string | null; readonly sslMode: SslMode | null } | { readonly fix: string } {
  let host: string | null = null
  let sslMode: SslMode | null = null
  for (const [name, value] of new URLSearchParams(query)) {
    if (name === 'host' && isSocket(value)) host = value
    else if (name === 'sslmode') {
      sslMode = SSL_MODES.find((mode) => mode === value) ?? null
      if (sslMode === null)
        return { fix: `write sslmode=require, or one of ${SSL_MODES.join(', ')}` }
    } else if (name === 'host') return { fix: 'write hosts in front of the path; host is a socket' }
    else return { fix: `remove ${name}: sslmode and host (a socket's folder) alone are known here` }
  }
  return { host, sslMode }
}

function decoded(text: string | undefined): string | null {
  if (text === undefined || text === '') return null
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
