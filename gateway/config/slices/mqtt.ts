/**
 * Configuration of the broker stage: listeners, who may connect, and every limit (I6).
 *
 * Defaults of the limits are for a small box. Together they bound the memory that devices can make
 * the gateway hold to about 130 MiB (unacknowledged 64, held back 16, subscribers 32, retained
 * messages 16), within the 250 MB that the process is to stay under.
 */
import { z } from 'zod'
import {
  choice,
  duration,
  flag,
  integer,
  leaf,
  nullable,
  path,
  section,
  sections,
  size,
  text,
} from '../fields.ts'
import { HOST_WORDS, hostFix } from './admin.ts'

const KIB = 1024
/** The largest remaining length that MQTT can express (3.1.1, section 2.2.3). */
const MAX_REMAINING_LENGTH = 268_435_455

const authSection = section('Who may connect, and what they may publish and subscribe to.', {
  passwordFile: nullable(
    path(
      'Users and hashed passwords, written by sluice passwd. null: a client is who its certificate says, or nobody.',
    ),
  ).prefault(null),
  aclFile: nullable(path('Access rules per user. null: everybody may use every topic.')).prefault(
    null,
  ),
})

const tlsSection = section('TLS of this listener; files are re-read when they change.', {
  cert: leaf(path('Certificate chain, PEM.')),
  key: leaf(path('Private key, PEM.')),
  ca: nullable(path('Authorities of client certificates, PEM. null: none are asked for.')).prefault(
    null,
  ),
  requireClientCert: leaf(flag('Only devices with a certificate of ca may connect.')).prefault(
    false,
  ),
})

const listenerSection = section('One address to listen on.', {
  host: leaf(text('Address to listen on.', { wanted: HOST_WORDS, check: hostFix })).prefault(
    '127.0.0.1',
  ),
  port: leaf(integer('Port to listen on; 0: a free one.', { min: 0, max: 65_535 })).prefault(1883),
  tls: tlsSection.nullable().prefault(null),
  websocket: leaf(flag('MQTT over WebSocket instead of bare TCP.')).prefault(false),
  auth: authSection.nullable().exactOptional(),
})

const listeners = z.array(listenerSection).min(1).max(32)
sections.add(listeners, { text: 'Where devices connect.' })

const limits = {
  // A descriptor each, and some 10 KB; LimitNOFILE of the systemd unit is above it.
  maxConnections: leaf(integer('Connections at one time.', { min: 1, max: 1_000_000 })).prefault(
    10_000,
  ),
  // Behind a proxy, a bridge or a router all devices have one address, so there is no number that
  // suits everybody.
  maxConnectionsPerAddress: nullable(
    integer('Of them from one address; null: all of them may be. Against one that keeps opening.', {
      min: 1,
      max: 1_000_000,
    }),
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
    size('The same for CONNECT, from somebody who is not known yet.', {
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
  maxUnackedBytes: leaf(size('Their bytes.', { min: KIB })).prefault('4MiB'),
  maxUnackedMessagesTotal: leaf(
    integer('Messages of all connections that wait for their ack.', { min: 1, max: 10_000_000 }),
  ).prefault(100_000),
  maxUnackedBytesTotal: leaf(size('Their bytes.', { min: KIB })).prefault('64MiB'),
  maxHoldBackBytes: leaf(
    size('Over these bounds the gate reads on so far to answer PINGREQ, per connection.', {
      min: KIB,
    }),
  ).prefault('64KiB'),
  maxHoldBackBytesTotal: leaf(size('The same for all connections.', { min: KIB })).prefault(
    '16MiB',
  ),
  // A radio link with seconds of delay makes it; a socket that says nothing does not stay.
  connectTimeout: leaf(
    duration('From the connection to its CONNECT, TLS handshake included.', { min: 100 }),
  ).prefault('10s'),
  // Hashing queues while many connect at once after an outage.
  authTimeout: leaf(duration('From CONNECT to the end of authentication.', { min: 100 })).prefault(
    '10s',
  ),
  // Twice the connections: as many devices again may be away.
  maxSessions: leaf(
    integer('Stored sessions (clean session 0), connected or not.', { min: 1, max: 10_000_000 }),
  ).prefault(20_000),
  // Longer than a plant is shut down for holidays: until then QoS 2 stays exactly once (I3).
  sessionExpiry: leaf(
    duration('A session without a connection is forgotten after it.', {
      min: 60_000,
      max: 3650 * 86_400_000,
    }),
  ).prefault('30d'),
  maxSubscriberMessages: leaf(
    integer('Copies that wait for one local subscriber.', { min: 1, max: 1_000_000 }),
  ).prefault(1_000),
  maxSubscriberBytes: leaf(size('Their bytes.', { min: KIB })).prefault('1MiB'),
  maxSubscriberBytesTotal: leaf(
    size('Bytes of copies for all local subscribers.', { min: KIB }),
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
    size('Topic and payload of one retained message.', { min: KIB }),
  ).prefault('1MiB'),
  maxRetainedBytes: leaf(size('The same of all; they are held in memory.', { min: KIB })).prefault(
    '16MiB',
  ),
}

export const mqttSlice = section('The broker.', {
  listeners: listeners.prefault([{ host: '127.0.0.1', port: 1883 }]),
  auth: authSection.nullable().prefault(null),
  allowAnonymous: leaf(
    flag('Listeners on other addresses than loopback start without auth, too.'),
  ).prefault(false),
  unrouted: leaf(
    choice(
      'A PUBLISH that no stream and no local subscriber takes is acknowledged, or closes its connection.',
      ['accept', 'refuse'],
    ),
  ).prefault('accept'),
  willsOnStop: leaf(
    choice(
      'When the gateway stops, the wills of connected clients are published before the last commit, or not.',
      ['publish', 'suppress'],
    ),
  ).prefault('publish'),
  sysInterval: nullable(
    duration('Subscribers of $SYS get its values so often. null: there is no $SYS tree.', {
      min: 1_000,
    }),
  ).prefault('10s'),
  ...limits,
})
