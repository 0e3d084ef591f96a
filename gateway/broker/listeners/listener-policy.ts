/**
 * Which listeners may start at all, decided before anything listens; and the error that every
 * refusal to listen is.
 */
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { hostAndPort, isLoopback } from '../../shared/hosts.ts'
import { type AuthConfig, knowsClients, type ListenerConfig, type MqttConfig } from '../config.ts'

type ListenerErrorCode =
  /** Anonymous clients from other machines, which the configuration does not allow. */
  | 'LISTENER_NEEDS_AUTH'
  | 'LISTENER_ADDRESS_IN_USE'
  | 'LISTENER_ADDRESS_UNAVAILABLE'
  | 'LISTENER_HOST_UNKNOWN'
  | 'LISTENER_NOT_PERMITTED'
  | 'LISTENER_TLS_UNUSABLE'
  | 'LISTENER_FAILED'

/** Says which listener, what is wrong, and what to do about it. */
export class ListenerError extends Error {
  override readonly name = 'ListenerError'
  readonly code: ListenerErrorCode
  readonly listener: string

  constructor(
    code: ListenerErrorCode,
    listener: string,
    problem: string,
    fix: string,
    cause?: unknown,
  ) {
    super(`${listener}: ${problem}; ${fix}`, { cause })
    this.code = code
    this.listener = listener
  }
}

/** As errors and events name a listener: its place in the configuration and its address. */
export function nameOf(listener: ListenerConfig, index: number): string {
  return `mqtt.listeners[${index}] (${hostAndPort(listener.host, listener.port)})`
}

/** The listener's own `auth`, else that of `mqtt`. */
export function authOf(
  config: Pick<MqttConfig, 'auth'>,
  listener: ListenerConfig,
): AuthConfig | null {
  return listener.auth === undefined ? config.auth : listener.auth
}

/**
 * The IP address to listen on. Throws a {@link ListenerError} if the host is unknown, or if the
 * listener would let anonymous clients of other machines in although `mqtt.allowAnonymous` is off.
 * A listener that requires a client certificate of its `ca` is not anonymous.
 */
export async function admittedAddress(config: MqttConfig, index: number): Promise<string> {
  const listener = config.listeners[index]
  if (listener === undefined) throw new RangeError(`no listener ${index}`)
  const name = nameOf(listener, index)
  const { tls } = listener
  if (tls?.requireClientCert === true && tls.ca === null) {
    const fix = 'set tls.ca to the authority that signs the certificates of your devices'
    throw new ListenerError(
      'LISTENER_TLS_UNUSABLE',
      name,
      'tls.requireClientCert needs tls.ca',
      fix,
    )
  }
  const address = await resolve(listener.host, name)
  const isLocal = isLoopback(address) && listener.proxyProtocol === null
  if (isLocal || config.allowAnonymous || knowsClients(listener, authOf(config, listener)))
    return address
  const other =
    listener.proxyProtocol === null
      ? 'listen on 127.0.0.1'
      : 'set proxyProtocol.clientCert: require'
  throw new ListenerError(
    'LISTENER_NEEDS_AUTH',
    name,
    'it would admit anonymous clients from other machines',
    `set mqtt.auth (make a password file with "sluice passwd"), or ${other}, or set mqtt.allowAnonymous: true if that is what you want`,
  )
}

async function resolve(host: string, name: string): Promise<string> {
  if (isIP(host) !== 0) return host
  try {
    return (await lookup(host)).address
  } catch (error) {
    const fix = 'use an IP address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them'
    throw new ListenerError(
      'LISTENER_HOST_UNKNOWN',
      name,
      `the host ${host} has no address`,
      fix,
      error,
    )
  }
}

const LISTEN_FAULTS: Readonly<Record<string, readonly [ListenerErrorCode, string, string]>> = {
  EADDRINUSE: [
    'LISTENER_ADDRESS_IN_USE',
    'another program listens there',
    'stop it (is a second gateway or another MQTT broker running?) or choose another port',
  ],
  EADDRNOTAVAIL: [
    'LISTENER_ADDRESS_UNAVAILABLE',
    'this machine does not have that address',
    'use one that it has, or 0.0.0.0 for all of them',
  ],
  EACCES: [
    'LISTENER_NOT_PERMITTED',
    'the operating system does not permit it',
    'use a port from 1024 on, or grant CAP_NET_BIND_SERVICE',
  ],
}

/** What the operating system said to `listen`, as an error for an operator. */
export function listenFault(name: string, error: NodeJS.ErrnoException): ListenerError {
  const [code, problem, fix] = LISTEN_FAULTS[error.code ?? ''] ?? [
    'LISTENER_FAILED' as const,
    `it cannot listen (${error.message})`,
    'see the error of the operating system',
  ]
  return new ListenerError(code, name, problem, fix, error)
}

/** The same where a listener of this gateway has the port until a reload is done. */
export function ownPortFault(name: string, error: unknown): unknown {
  if (!(error instanceof ListenerError) || error.code !== 'LISTENER_ADDRESS_IN_USE') return error
  return new ListenerError(
    error.code,
    name,
    'this gateway listens on that port under another host, until the new address is bound',
    'restart the gateway for it, or choose another port',
    error,
  )
}
