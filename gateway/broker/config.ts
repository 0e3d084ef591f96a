/**
 * Configuration of the broker stage: listeners, who may connect, and every limit (I6).
 *
 * Defaults of the limits are for a small box. Together they bound the memory that devices can make
 * the gateway hold to about 130 MiB (unacknowledged 64, held back 16, subscribers 32, retained
 * messages 16), within the 250 MB that the process is to stay under.
 */
import { choice, duration, flag, host, integer, path, size, text } from '../config/fields.ts'
import { type Report, showValue } from '../config/problems.ts'
import { changes, leaf, list, nullable, type Schema, section } from '../config/schema.ts'
import { formatSize } from '../config/units.ts'
import { keyPath, type Path } from '../config/walk.ts'
import { isLoopback } from '../shared/hosts.ts'
import { type ProxyProtocolConfig, proxyProtocolSection } from './listeners/proxy/config.ts'

export interface ServerTlsConfig {
  readonly cert: string
  readonly key: string
  readonly ca: string | null
  readonly requireClientCert: boolean
}

export interface AuthConfig {
  /** null: clients are known by their certificate, or not at all. */
  readonly passwordFile: string | null
  readonly aclFile: string | null
}

export interface ListenerConfig {
  readonly host: string
  readonly port: number
  readonly tls: ServerTlsConfig | null
  readonly websocket: boolean
  /** null: devices connect themselves. */
  readonly proxyProtocol: ProxyProtocolConfig | null
  /** Overrides `mqtt.auth`; undefined: that one. */
  readonly auth?: AuthConfig | null
}

/**
 * Every limit of the broker: name, unit, default in the schema; the policy is in README.md
 * beside this file.
 */
export interface MqttLimits {
  readonly maxConnections: number
  /** null: as many as `maxConnections`. */
  readonly maxConnectionsPerAddress: number | null
  readonly maxPacketBytes: number
  readonly maxConnectPacketBytes: number
  readonly maxTopicBytes: number
  readonly maxTopicLevels: number
  readonly maxUnackedMessages: number
  readonly maxUnackedBytes: number
  readonly maxUnackedMessagesTotal: number
  readonly maxUnackedBytesTotal: number
  readonly maxHoldBackBytes: number
  readonly maxHoldBackBytesTotal: number
  readonly connectTimeout: number
  readonly authTimeout: number
  readonly maxSessions: number
  readonly sessionExpiry: number
  readonly maxSubscriberMessages: number
  readonly maxSubscriberBytes: number
  readonly maxSubscriberBytesTotal: number
  readonly maxSubscriptions: number
  readonly maxRetainedMessages: number
  readonly maxRetainedMessageBytes: number
  readonly maxRetainedBytes: number
}

export interface MqttConfig extends MqttLimits {
  readonly listeners: readonly ListenerConfig[]
  readonly auth: AuthConfig | null
  readonly allowAnonymous: boolean
  readonly unrouted: 'accept' | 'refuse'
  /**
   * What a client of MQTT 5 gets for a message that the access rules or `unrouted: refuse` refuse.
   */
  readonly refusals: 'close' | 'code'
  /** Topic aliases of a connection of MQTT 5; 0: none. */
  readonly topicAliasMaximum: number
  /** What clients of MQTT 5 are told when the gateway leaves; null: nothing. */
  readonly serverReference: string | null
  /** On stop: wills of connected clients are appended before the last commit, or not. */
  readonly willsOnStop: 'publish' | 'suppress'
  /** ms; null: there is no `$SYS` tree. */
  readonly sysInterval: number | null
}

const KIB = 1024
/** The largest remaining length that MQTT can express (3.1.1, section 2.2.3). */
const MAX_REMAINING_LENGTH = 268_435_455

const authSection = section('Who may connect, and what they may publish and subscribe to.', {
  passwordFile: nullable(
    path(
      'Users and hashed passwords, written by sluice passwd. null: a client is known by its certificate, or not at all.',
    ),
  ).prefault(null),
  aclFile: nullable(
    path('Access rules of each user. null: everyone may use every topic.'),
  ).prefault(null),
})

const tlsSection = section('TLS of this listener. Its files are read again when they change.', {
  cert: leaf(path('Certificate chain, PEM.')),
  key: leaf(path('Private key, PEM.')),
  ca: nullable(
    path('Authorities that sign client certificates, PEM. null: clients are not asked for one.'),
  ).prefault(null),
  requireClientCert: leaf(
    flag('Only devices with a certificate that ca signed may connect.'),
  ).prefault(false),
})

const listenerSection = section('One address to listen on.', {
  host: leaf(host('Address to listen on.')).prefault('127.0.0.1'),
  port: leaf(integer('Port to listen on; 0: a free one.', { min: 0, max: 65_535 })).prefault(1883),
  tls: tlsSection.nullable().prefault(null),
  websocket: leaf(flag('MQTT over WebSocket instead of bare TCP.')).prefault(false),
  proxyProtocol: proxyProtocolSection.nullable().prefault(null),
  auth: changes('live', authSection.nullable().exactOptional()),
})

const listeners = changes(
  'replaced',
  list('Where devices connect.', listenerSection, { min: 1, max: 32 }),
)

const limits = {
  // A descriptor each, and some 10 KB; LimitNOFILE of the systemd unit is above it.
  maxConnections: leaf(integer('Connections at one time.', { min: 1, max: 1_000_000 })).prefault(
    10_000,
  ),
  // Behind a proxy, a bridge or a router all devices have one address, so there is no number that
  // suits everybody.
  maxConnectionsPerAddress: nullable(
    integer(
      'Connections from one address, against a client that keeps opening new ones. null: as many as maxConnections.',
      {
        min: 1,
        max: 1_000_000,
      },
    ),
  ).prefault(null),
  // Four of the largest records of a stream with defaults (256KiB), or one that is base64 in the
  // end.
  maxPacketBytes: leaf(
    size('A larger packet closes the connection as soon as its length is known.', {
      min: 128,
      max: MAX_REMAINING_LENGTH,
    }),
  ).prefault('1MiB'),
  // Client id, user name, a password that is a signed token (4 KiB are usual), a will of a few
  // hundred bytes.
  maxConnectPacketBytes: leaf(
    size('The same for a CONNECT, whose sender is not known yet.', {
      min: 64,
      max: MAX_REMAINING_LENGTH,
    }),
  ).prefault('8KiB'),
  // Cloud brokers allow 256 bytes and 8 levels; plant hierarchies with long names need more.
  maxTopicBytes: leaf(
    integer('Length of a topic or filter, UTF-8 bytes.', { min: 1, max: 65_535 }),
  ).prefault(1_024),
  // At most what aedes can hold as a subscription.
  maxTopicLevels: leaf(integer('Levels of a topic or filter.', { min: 1, max: 100 })).prefault(32),
  // Well above what clients send without waiting (10 to 100), and what 250 MB hold in total.
  maxUnackedMessages: leaf(
    integer('Messages of one connection that wait for their ack.', { min: 1, max: 65_535 }),
  ).prefault(1_000),
  maxUnackedBytes: leaf(
    size('Bytes of one connection that wait for their ack.', { min: KIB }),
  ).prefault('4MiB'),
  maxUnackedMessagesTotal: leaf(
    integer('Messages of all connections that wait for their ack.', { min: 1, max: 10_000_000 }),
  ).prefault(100_000),
  maxUnackedBytesTotal: leaf(
    size('Bytes of all connections that wait for their ack.', { min: KIB }),
  ).prefault('64MiB'),
  maxHoldBackBytes: leaf(
    size(
      'How much of a connection that is over its unacked limits is still read, so that its PINGREQ is answered.',
      {
        min: KIB,
      },
    ),
  ).prefault('64KiB'),
  maxHoldBackBytesTotal: leaf(
    size('The same for all connections together.', { min: KIB }),
  ).prefault('16MiB'),
  // A radio link with seconds of delay makes it; a socket that says nothing does not stay.
  connectTimeout: leaf(
    duration('How long a connection may take to its CONNECT, TLS handshake included.', {
      min: 100,
    }),
  ).prefault('10s'),
  // Hashing queues while many connect at once after an outage.
  authTimeout: leaf(
    duration(
      'How long a CONNECT may wait for its turn; then, how long its authentication may take.',
      { min: 100 },
    ),
  ).prefault('10s'),
  // Twice the connections: as many devices again may be away.
  maxSessions: leaf(
    integer('Stored sessions (clean session 0), connected or not.', { min: 1, max: 10_000_000 }),
  ).prefault(20_000),
  // Longer than a plant is shut down for holidays: until then QoS 2 stays exactly once (I3).
  sessionExpiry: leaf(
    duration('How long a session without a connection is kept.', {
      min: 60_000,
      max: 3650 * 86_400_000,
    }),
  ).prefault('30d'),
  maxSubscriberMessages: leaf(
    integer('Copies that wait for one local subscriber.', { min: 1, max: 1_000_000 }),
  ).prefault(1_000),
  maxSubscriberBytes: leaf(
    size('Bytes of the copies that wait for one local subscriber.', { min: KIB }),
  ).prefault('1MiB'),
  maxSubscriberBytesTotal: leaf(
    size('Bytes of the copies that wait for all local subscribers.', { min: KIB }),
  ).prefault('32MiB'),
  // A dashboard subscribes to some hundred.
  maxSubscriptions: leaf(
    integer('Topic filters of one client.', { min: 1, max: 100_000 }),
  ).prefault(1_000),
  // The tags of a plant.
  maxRetainedMessages: leaf(
    integer('Topics with a retained message.', { min: 1, max: 1_000_000 }),
  ).prefault(10_000),
  // Whatever fits into a packet: device lists of hubs have hundreds of KiB.
  maxRetainedMessageBytes: leaf(
    size('Bytes of one retained message, topic and payload.', { min: KIB }),
  ).prefault('1MiB'),
  maxRetainedBytes: leaf(
    size('Bytes of all retained messages; they are held in memory.', { min: KIB }),
  ).prefault('16MiB'),
}

export const mqttSection: Schema<MqttConfig> = section('The broker.', {
  listeners: listeners.prefault([{ host: '127.0.0.1', port: 1883 }]),
  auth: authSection.nullable().prefault(null),
  allowAnonymous: leaf(
    flag('Listeners start without authentication on addresses other than loopback, too.'),
  ).prefault(false),
  unrouted: leaf(
    choice(
      'A PUBLISH that no stream and no local subscriber takes is acknowledged, or closes its connection.',
      ['accept', 'refuse'],
    ),
  ).prefault('accept'),
  // A code is final: the device must not send the message again, so a wrong rule would lose it.
  refusals: leaf(
    choice(
      'A PUBLISH of MQTT 5 that access rules or unrouted: refuse forbid closes its connection, as before MQTT 5, or gets a final reason code.',
      ['close', 'code'],
    ),
  ).prefault('close'),
  topicAliasMaximum: leaf(
    integer('Topic aliases that a connection of MQTT 5 may use; 0: none.', { min: 0, max: 65_535 }),
  ).prefault(20),
  willsOnStop: leaf(
    choice(
      'When the gateway stops or leaves, the wills of connected clients are published before the last commit, or not.',
      ['publish', 'suppress'],
    ),
  ).prefault('publish'),
  serverReference: nullable(
    text(
      'Where clients of MQTT 5 may go when the gateway leaves: the Server Reference of its DISCONNECT. null: none is named.',
      {
        wanted: 'host or host:port, several with spaces between, at most 1024 characters',
        check: (input) => (input.length <= 1_024 ? null : 'write at most 1024 characters'),
      },
    ),
  ).prefault(null),
  sysInterval: nullable(
    duration('How often subscribers of $SYS get its values. null: there is no $SYS tree.', {
      min: 1_000,
    }),
  ).prefault('10s'),
  ...limits,
})

/** Listeners and limits that contradict each other, and who could connect unasked. */
export function checkMqtt(mqtt: MqttConfig, report: Report): void {
  checkListeners(mqtt, report)
  checkLimits(mqtt, report)
}

function checkListeners(mqtt: MqttConfig, report: Report): void {
  if (mqtt.auth !== null) checkAuth(['mqtt', 'auth'], mqtt.auth, report)
  const taken = new Map<string, number>()
  for (const [index, listener] of mqtt.listeners.entries()) {
    const path = ['mqtt', 'listeners', index]
    const address = `${listener.host.toLowerCase()} port ${listener.port}`
    const first = taken.get(address)
    if (first !== undefined && listener.port !== 0) {
      const fix = 'change the port of one of them'
      report.complain(path, {
        got: `${address} a second time`,
        wanted: `another address than mqtt.listeners[${first}]`,
        fix,
      })
    }
    taken.set(address, index)
    checkListenerAccess(path, listener, mqtt.auth, mqtt.allowAnonymous, report)
  }
}

function checkAuth(path: Path, { passwordFile, aclFile }: AuthConfig, report: Report): void {
  if (passwordFile !== null || aclFile !== null) return
  report.complain(path, {
    got: 'neither passwordFile nor aclFile',
    wanted: 'at least one of them',
    fix: `set ${keyPath(path)}.passwordFile (sluice passwd writes it), or write ${keyPath(path)}: null`,
  })
}

/** Is every client of the listener one that it knows? `auth`: the listener's own, or that of all. */
export function knowsClients(listener: ListenerConfig, auth: AuthConfig | null): boolean {
  if (auth !== null && auth.passwordFile !== null) return true
  const { proxyProtocol, tls } = listener
  // A certificate of TLS behind a proxy is the proxy's.
  return proxyProtocol === null
    ? tls?.requireClientCert === true
    : proxyProtocol.clientCert === 'require'
}

function checkListenerAccess(
  path: Path,
  listener: ListenerConfig,
  commonAuth: AuthConfig | null,
  allowAnonymous: boolean,
  report: Report,
): void {
  const auth = listener.auth === undefined ? commonAuth : listener.auth
  const isProxied = listener.proxyProtocol !== null
  const open = !isLoopback(listener.host)
  if (listener.auth) checkAuth([...path, 'auth'], listener.auth, report)
  if ((open || isProxied) && !knowsClients(listener, auth) && !allowAnonymous) {
    const behind = isProxied ? ' behind a proxy' : ''
    report.complain([...path, 'host'], {
      got: `${showValue(listener.host)}${behind} without authentication`,
      wanted: `mqtt.auth${isProxied ? '' : ', or a loopback address'}`,
      fix: `set mqtt.auth.passwordFile (sluice passwd writes it), or ${isProxied ? 'proxyProtocol.clientCert: require' : 'tls.requireClientCert, or listen on 127.0.0.1'}, or set mqtt.allowAnonymous to true if everyone on that network may publish`,
    })
  }
  if (open && auth !== null && auth.passwordFile !== null && listener.tls === null)
    report.warn(path, `passwords cross the network unencrypted on ${listener.host}; set tls`)
  if (listener.tls?.requireClientCert === true && listener.tls.ca === null) {
    const fix = 'set ca to the file of the authorities that sign them'
    report.complain([...path, 'tls', 'requireClientCert'], {
      got: 'true without ca',
      wanted: 'ca, to check them',
      fix,
    })
  }
}

function checkLimits(mqtt: MqttConfig, report: Report): void {
  const atLeast = [
    ['maxUnackedBytes', 'maxPacketBytes'],
    ['maxUnackedBytesTotal', 'maxUnackedBytes'],
    ['maxUnackedMessagesTotal', 'maxUnackedMessages'],
    ['maxHoldBackBytesTotal', 'maxHoldBackBytes'],
    ['maxSubscriberBytesTotal', 'maxSubscriberBytes'],
    ['maxRetainedBytes', 'maxRetainedMessageBytes'],
    ['maxPacketBytes', 'maxConnectPacketBytes'],
  ] as const
  for (const [key, least] of atLeast) {
    if (mqtt[key] >= mqtt[least]) continue
    const isSize = key.includes('Bytes')
    const show = (value: number) => (isSize ? formatSize(value) : String(value))
    report.complain(['mqtt', key], {
      got: show(mqtt[key]),
      wanted: `at least mqtt.${least} (${show(mqtt[least])})`,
      fix: `write ${show(mqtt[least])} or more, or lower mqtt.${least}`,
    })
  }
}
