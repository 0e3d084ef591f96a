/**
 * What the broker's events say in the log. Those with `suppressed` are damped by the broker, per
 * client or address.
 */
import type { BrokerEvent } from '../../broker/events.ts'
import { bytes, counted, type EventLogs } from './event-log.ts'

const RETAINED_LIMITS = {
  'too-many': 'maxRetainedMessages',
  'too-large': 'maxRetainedMessageBytes',
  'store-full': 'maxRetainedBytes',
} as const

export const BROKER_LOGS: EventLogs<BrokerEvent> = {
  'broker.started': {
    level: 'info',
    message: ({ listeners }) => `devices may connect: ${listeners.join(', ')}`,
  },
  'broker.leaving': {
    level: 'info',
    message: ({ connections }) =>
      `the gateway leaves: it takes no more devices, and sends ${counted(connections, 'connection')} away`,
  },
  'broker.left': {
    level: 'info',
    message: () => 'no device is connected any more; what is in the spool is still delivered',
  },
  'broker.stopped': {
    level: 'info',
    message: ({ connections, unacked }) =>
      `the broker stopped; ${counted(connections, 'connection')} open, ${counted(unacked, 'message')} not acknowledged`,
  },
  'broker.listener-closed': {
    level: 'info',
    message: (e) => `${e.listener} takes no connections any more`,
  },
  'broker.listening': {
    level: 'debug',
    message: ({ host, port }) => `listening on ${host}:${port}`,
  },
  'broker.listener-error': {
    level: 'error',
    message: ({ listener, message }) => `listener ${listener}: ${message}`,
    dampBy: ({ listener, message }) => `${listener} ${message}`,
  },
  'broker.limit-capped': {
    level: 'warn',
    message: ({ key, configured, effective, because }) =>
      `mqtt.${key} is ${effective} and not ${configured}: this host does not give the ${because} for more (I6)`,
  },
  'broker.memory-small': {
    level: 'warn',
    message: ({ bytes: has, wanted }) =>
      `${bytes(has)} of memory are less than ${bytes(wanted)}: the kernel may end the gateway under load (nothing acknowledged is lost)`,
  },
  'broker.connection-refused': {
    level: 'warn',
    message: ({ limit, address, openConnections, most }) =>
      limit === 'maxConnections'
        ? `connection refused: ${openConnections} are open, which is the limit in effect of mqtt.maxConnections (I6), ${most.connections} of them from ${most.address}`
        : `connection refused: ${address} has as many open as mqtt.maxConnectionsPerAddress allows (I6)`,
  },
  'broker.client-refused': {
    level: 'warn',
    message: ({ clientId, reason, detail }) =>
      `client ${clientId ?? '(unknown)'} refused, ${reason}: ${detail}`,
  },
  'broker.connection-closed': {
    level: ({ reason }) => (reason === 'takeover' || reason === 'stopping' ? 'info' : 'warn'),
    message: ({ clientId, reason, detail }) =>
      `connection of ${clientId ?? '(unknown)'} closed, ${reason}${detail === '' ? '' : `: ${detail}`}`,
  },
  'broker.client-id-shared': {
    level: 'warn',
    message: ({ clientId, addresses, takeovers }) =>
      `${takeovers} times within a minute a client connected as ${clientId} and ended the connection of the one before, ` +
      (addresses.length > 1
        ? `from ${addresses.join(' and ')} in turn: give each its own client id`
        : `from ${addresses.join('')}: two clients there have one id, or one does not close its connections`),
  },
  'broker.gateway-id-shared': {
    level: 'warn',
    message: ({ gateway }) =>
      `another gateway runs under this one's id ${gateway} and tells of its clients (cluster.takeover): give each gateway.id of its own, receivers cannot tell them apart`,
  },
  'broker.handshake-failed': {
    level: 'warn',
    message: ({ kind, listener, message }) => `${kind} handshake failed on ${listener}: ${message}`,
  },
  'broker.message-unrouted': {
    level: 'warn',
    message: ({ clientId, topic, policy, nearest }) => {
      const outcome = policy === 'accept' ? 'acknowledged and not kept (I9)' : 'connection closed'
      const hint = nearest === null ? '' : `; the closest filter of a stream is ${nearest}`
      return `no stream and no subscriber takes ${topic} of ${clientId}: ${outcome}${hint}`
    },
  },
  'broker.message-refused': {
    level: 'warn',
    message: ({ clientId, topic, reason }) => {
      const why = reason === 'unrouted' ? 'nothing takes it' : 'the access rules forbid it'
      return `a message of ${clientId} on ${topic} got a final reason code, and is gone: ${why} (mqtt.refusals: code)`
    },
  },
  'broker.message-unwanted': {
    level: 'warn',
    message: ({ clientId, topic, reason, streams }) =>
      streams.length === 0
        ? `${topic} of ${clientId} is not kept, ${reason}: acknowledged and counted (I9)`
        : `${topic} of ${clientId} is kept as a dead letter of ${streams.join(', ')}, ${reason} (I9)`,
  },
  'broker.copies-dropped': {
    level: 'warn',
    message: ({ clientId }) =>
      `copies for the slow local subscriber ${clientId ?? ''} dropped; records are not touched`,
  },
  'broker.queued-copies-dropped': {
    level: 'warn',
    message: ({ clientId, reason }) =>
      `queued copies for the absent subscriber ${clientId} dropped (${reason}); records are not touched`,
  },
  'broker.local-delivery-failed': {
    level: 'error',
    message: ({ message }) => `a local delivery failed: ${message}`,
  },
  'broker.retained-refused': {
    level: 'warn',
    message: ({ topic, reason }) =>
      `the message on ${topic} was delivered and not retained: ${reason}; mqtt.${RETAINED_LIMITS[reason]} is the limit`,
  },
  'broker.will-dropped': {
    level: 'warn',
    message: ({ clientId, topic, why }) =>
      `the will of ${clientId} on ${topic} was not published: ${why}`,
    dampBy: ({ clientId }) => clientId,
  },
  'broker.sessions-recovered': {
    level: 'info',
    message: ({ sessions, packetIds }) =>
      `${counted(sessions, 'session')} recovered, with ${counted(packetIds, 'open QoS 2 packet id')} (I3)`,
  },
  'broker.session-ended': {
    level: ({ openPacketIds }) => (openPacketIds > 0 ? 'warn' : 'info'),
    message: ({ clientId, why, openPacketIds }) =>
      `the session of ${clientId} ${why}, with ${counted(openPacketIds, 'open QoS 2 packet id')}`,
    dampBy: ({ why }) => why,
  },
  'broker.sessions-damaged': {
    level: 'error',
    message: ({ detail }) =>
      `stored session state could not be read; what was readable is in use (I7): ${detail}`,
  },
  'broker.stored-state-unreadable': {
    level: 'error',
    message: ({ space, message }) =>
      `a stored value of ${space} cannot be read and is not used (I7): ${message}`,
    dampBy: ({ space }) => space,
  },
  'broker.certificate-undated': {
    level: 'warn',
    message: ({ listener, subject }) =>
      `the clock is not set: the client certificate of ${subject} on ${listener} was taken without regard to its dates`,
  },
  'broker.certificate-loaded': {
    level: 'info',
    message: ({ listener, validTo }) => `${listener} uses its certificate, valid to ${validTo}`,
  },
  'broker.certificate-refused': {
    level: 'error',
    message: ({ listener, message }) =>
      `new certificate of ${listener} refused, the former stays in use: ${message}`,
    dampBy: ({ listener }) => listener,
  },
  'broker.credentials-loaded': {
    level: 'info',
    message: ({ file, users }) => `${counted(users, 'user')} read from ${file}`,
  },
  'broker.access-rules-loaded': {
    level: 'info',
    message: ({ file, rules }) => `${counted(rules, 'access rule')} read from ${file}`,
  },
  'broker.auth-file-refused': {
    level: 'error',
    message: ({ file, message }) =>
      `${file} refused, its former content stays in force: ${message}`,
    dampBy: ({ file }) => file,
  },
  'broker.internal-error': {
    level: 'error',
    message: ({ where, detail }) =>
      `a defect in the broker was contained, please report it (${where}): ${detail}`,
    dampBy: ({ where }) => where,
  },
}
