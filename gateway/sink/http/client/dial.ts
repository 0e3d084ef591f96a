/**
 * A name -> a connection, TLS included, within one time-out. The addresses are raced: each later
 * one begins when those before it had their head start, and none is given up while the time lasts,
 * so neither a dead address nor a long way keeps the others out (RFC 8305, section 5). Not here:
 * what goes over the connection.
 */
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls'
import { hostAndPort } from '../../../shared/hosts.ts'
import type { Address, Addresses } from './addresses.ts'
import { DialError, LinkError } from './link-error.ts'
import { openTunnel, type ProxyHop } from './tunnel.ts'

/**
 * Head start of an address before the next one, ms; less where the addresses are many, so that each
 * has a fair share of the time-out. Above the round trip of a satellite: a healthy address is
 * seldom raced in vain.
 */
const HEAD_START_MS = 1000

/** Keep-alive probes on an idle connection: a NAT forgets it later, and a dead one is seen. */
const KEEP_ALIVE_MS = 15_000

export interface DialOptions {
  /** Of the proxy, if there is one. */
  readonly addresses: Addresses
  /** As in the URL, without brackets: for TLS. */
  readonly hostname: string
  readonly port: number
  /** Between here and the host; null: none. */
  readonly proxy?: ProxyHop | null
  /** null: no TLS. */
  readonly tls: TlsDialOptions | null
  /** For all of it: lookup, connection, TLS. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

interface TlsDialOptions {
  readonly context: SecureContext
  /** Of an earlier connection, or null. */
  readonly session: Buffer | null
  readonly onSession: (session: Buffer) => void
  /** false: only to look at the other side's certificate; nothing may be sent. */
  readonly verify: boolean
  /** For ALPN; empty: none is named. @default http/1.1 */
  readonly protocols?: readonly string[]
}

export interface Dialed {
  readonly socket: Socket | TLSSocket
  readonly address: Address
  /** All addresses of the name, in the order of their tries. */
  readonly found: readonly Address[]
  readonly lookupMs: number
  /** Of the TCP handshake: one round trip, that to a proxy and on from there included. */
  readonly connectMs: number
  readonly tlsMs: number
}

/** @throws DialError */
export async function dial(options: DialOptions): Promise<Dialed> {
  const startedAt = performance.now()
  const deadline = startedAt + options.timeoutMs
  const found = await lookUp(options, deadline)
  const lookedUpAt = performance.now()
  const tcp = await race(found, options, deadline)
  const tunnelMs = await tunnelled(tcp, found, options, deadline)
  const connectedAt = performance.now()
  const tls = options.tls
  const socket = tls === null ? tcp.socket : await secure(tcp, found, tls, options, deadline)
  return {
    socket,
    address: tcp.address,
    found,
    lookupMs: lookedUpAt - startedAt,
    connectMs: tcp.ms + tunnelMs,
    tlsMs: performance.now() - connectedAt,
  }
}

async function lookUp(options: DialOptions, deadline: number): Promise<Address[]> {
  try {
    const { timeoutMs, signal } = options
    const late = new LinkError('DNS_TIMEOUT', `no address of the name within ${timeoutMs} ms`)
    const found = await bounded<Address[]>(deadline, signal, late, (resolve, reject) => {
      options.addresses.find().then(resolve, reject)
      return () => undefined
    })
    if (found.length === 0) throw new LinkError('DNS_TIMEOUT', 'the name has no address')
    return found
  } catch (error) {
    throw new DialError('dns', asError(error), [], proxyOf(options))
  }
}

interface Connected {
  readonly socket: Socket
  readonly address: Address
  readonly ms: number
}

/** The first address that takes the connection; the others are let go. */
async function race(
  found: readonly Address[],
  options: DialOptions,
  deadline: number,
): Promise<Connected> {
  const { addresses, timeoutMs, signal } = options
  const port = options.proxy?.port ?? options.port
  const headStartMs = Math.min(HEAD_START_MS, timeoutMs / found.length)
  const open = new Map<Address, Socket>()
  const failures = new Map<Address, Error>()
  const late = new LinkError('CONNECT_TIMEOUT', `no connection within ${timeoutMs} ms`)
  try {
    return await bounded<Connected>(deadline, signal, late, (resolve, reject) => {
      let next = 0
      let timer: NodeJS.Timeout | undefined
      const begin = (): void => {
        clearTimeout(timer)
        const address = found[next]
        next += 1
        if (address === undefined) return
        if (next < found.length) timer = setTimeout(begin, headStartMs)
        const startedAt = performance.now()
        const socket = connect({
          host: address.address,
          port,
          noDelay: true,
          keepAlive: true,
          keepAliveInitialDelay: KEEP_ALIVE_MS,
        })
        open.set(address, socket)
        socket.once('connect', () => {
          open.delete(address)
          socket.removeAllListeners()
          resolve({ socket, address, ms: performance.now() - startedAt })
        })
        socket.on('error', (error) => {
          open.delete(address)
          failures.set(address, error)
          addresses.suspect(address)
          if (failures.size === found.length) reject(error)
          else begin()
        })
      }
      begin()
      return () => clearTimeout(timer)
    })
  } catch (error) {
    const told = failures.size < found.length ? asError(error) : mostTelling(found, failures)
    throw new DialError('connect', told, triedOf(found), proxyOf(options))
  } finally {
    for (const [address, socket] of open) {
      // It had its head start, or all the time there was.
      if (!signal.aborted) addresses.suspect(address)
      socket.removeAllListeners().on('error', () => undefined)
      socket.destroy()
    }
  }
}

/** The way through the proxy, or its end: how long it took, ms. */
async function tunnelled(
  { socket, address }: Connected,
  found: readonly Address[],
  options: DialOptions,
  deadline: number,
): Promise<number> {
  const { proxy = null, timeoutMs, signal, addresses } = options
  if (proxy === null) return 0
  const startedAt = performance.now()
  const late = new LinkError('PROXY_TIMEOUT', `no way through the proxy within ${timeoutMs} ms`)
  try {
    await bounded<void>(deadline, signal, late, (resolve, reject) =>
      openTunnel(socket, options, proxy, resolve, reject),
    )
    return performance.now() - startedAt
  } catch (error) {
    if (!signal.aborted) addresses.suspect(address)
    socket.on('error', () => undefined)
    socket.destroy()
    throw new DialError('proxy', asError(error), triedOf(found), proxyOf(options))
  }
}

function proxyOf({ proxy = null }: DialOptions): string | null {
  return proxy === null ? null : hostAndPort(proxy.hostname, proxy.port)
}

/** TLS over the connection, or its end. */
async function secure(
  tcp: Connected,
  found: readonly Address[],
  tls: TlsDialOptions,
  options: DialOptions,
  deadline: number,
): Promise<TLSSocket> {
  const { hostname, timeoutMs, signal, addresses } = options
  const late = new LinkError('TLS_TIMEOUT', `no TLS handshake within ${timeoutMs} ms`)
  const socket = connectTls({
    socket: tcp.socket,
    host: hostname,
    ...(isIP(hostname) === 0 ? { servername: hostname } : {}),
    secureContext: tls.context,
    ALPNProtocols: [...(tls.protocols ?? ['http/1.1'])],
    rejectUnauthorized: tls.verify,
    ...(tls.session === null ? {} : { session: tls.session }),
  })
  socket.on('session', tls.onSession)
  try {
    await bounded<void>(deadline, signal, late, (resolve, reject) => {
      socket.once('secureConnect', resolve)
      socket.once('error', reject)
      socket.once('close', () => reject(new LinkError('CLOSED', 'closed during the TLS handshake')))
      return () => {
        for (const event of ['secureConnect', 'error', 'close']) socket.removeAllListeners(event)
      }
    })
    return socket
  } catch (error) {
    if (!signal.aborted) addresses.suspect(tcp.address)
    socket.on('error', () => undefined)
    socket.destroy()
    tcp.socket.destroy()
    throw new DialError('tls', asError(error), triedOf(found), proxyOf(options))
  }
}

/**
 * Settles as `work` says, at the latest at the deadline or the abort. `work` returns what ends it.
 */
async function bounded<T>(
  deadline: number,
  signal: AbortSignal,
  late: Error,
  work: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void,
): Promise<T> {
  let stop: () => void = () => undefined
  let timer: NodeJS.Timeout | undefined
  let onAbort: () => void = () => undefined
  try {
    return await new Promise<T>((resolve, reject) => {
      onAbort = () => reject(new LinkError('ABORTED', 'given up'))
      if (signal.aborted) {
        onAbort()
        return
      }
      signal.addEventListener('abort', onAbort, { once: true })
      timer = setTimeout(() => reject(late), Math.max(0, deadline - performance.now()))
      stop = work(resolve, reject)
    })
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
    stop()
  }
}

/** A family that is not routed here says less than an address that was reached. */
function mostTelling(found: readonly Address[], failures: ReadonlyMap<Address, Error>): Error {
  const silent = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'])
  const errors = found.map((one) => failures.get(one)).filter((one) => one !== undefined)
  return (
    errors.find((one) => !silent.has((one as NodeJS.ErrnoException).code ?? '')) ??
    asError(errors[0])
  )
}

function triedOf(found: readonly Address[]): string[] {
  return found.length > 1 ? found.map(({ address }) => address) : []
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
