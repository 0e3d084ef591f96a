/**
 * Puts the broker together, from what others need to what needs them: nothing is set later. It
 * takes up what the store keeps; nothing listens yet.
 */
import { randomBytes } from 'node:crypto'
import { type Appender, reusableMessage } from '../ports/appender.ts'
import type { DeviceLog } from '../ports/devices.ts'
import type { NoticeBus } from '../ports/notices.ts'
import { AedesEngine } from './aedes/engine.ts'
import { LocalMq } from './aedes/local-mq.ts'
import type { Authenticate, Authenticator } from './auth/authenticator.ts'
import type { MqttConfig } from './config.ts'
import { ConsumerState } from './consumers/consumer-state.ts'
import { DeliveryOrder } from './consumers/delivery-order.ts'
import { SubscriberDesk } from './consumers/desk.ts'
import { LocalDelivery } from './consumers/local-delivery.ts'
import { RetainedDelivery } from './consumers/retained/retained-delivery.ts'
import { SysTree } from './consumers/sys-tree.ts'
import { EventDamper } from './event-damper.ts'
import type { EmitBrokerEvent } from './events.ts'
import { ClientIds } from './gate/client-ids.ts'
import { ConnectAdmission } from './gate/connect-admission.ts'
import type { GateContext } from './gate/context.ts'
import { Gate } from './gate/gate.ts'
import { PublishView } from './mqtt/publish.ts'
import type { PublishContext } from './publish/context.ts'
import { Router } from './publish/router.ts'
import { Reports } from './reports.ts'
import { MessageHash } from './sessions/message-hash.ts'
import { SessionTable } from './sessions/session-table.ts'
import type { SubscriptionTable } from './sessions/stored-subscriptions.ts'
import { type BrokerStats, createBrokerStats } from './stats.ts'
import { LocalClients } from './takeover/local-clients.ts'
import { Neighbors } from './takeover/neighbors.ts'
import { DelayedWills } from './wills/delayed-wills.ts'
import { Wills } from './wills/wills.ts'

export interface BrokerOptions {
  readonly config: MqttConfig
  readonly appender: Appender
  readonly emit: EmitBrokerEvent
  /** Wall clock for `receivedAt`, ms since the epoch. Default: `Date.now`. */
  readonly nowMs?: () => number
  /** Clock of keepalive and time-outs, monotonic ms. Default: `performance.now`. */
  readonly monotonicMs?: () => number
  /**
   * Names a client that connects with an empty client id. Default: 16 random hex digits behind
   * `sluice-`.
   */
  readonly mintClientId?: () => string
  /** Shown under `$SYS`. @default unknown */
  readonly version?: string
  /** Where right credentials are kept over a restart; null: nowhere. @default null */
  readonly loginsFile?: string | null
  /**
   * Reaches the other gateways of a cluster, under the name that they know this one by; null: there
   * are none. @default null
   */
  readonly cluster?: { readonly bus: NoticeBus; readonly name: string } | null
  /** Is told of devices that come, publish, are refused and go. @default null */
  readonly devices?: DeviceLog | null
  /** Judges CONNECTs instead of the configured password and access files. */
  readonly authenticate?: Authenticate
}

/** All that is made before anything listens. */
export interface BrokerParts {
  readonly context: GateContext
  readonly gate: Gate
  readonly engine: AedesEngine
  readonly state: ConsumerState
  readonly sys: SysTree
  readonly authenticator: Authenticator
}

/** The local consumers' side: what is kept for them, who they are, and how messages get there. */
interface Consumers {
  readonly state: ConsumerState
  readonly subscribers: LocalMq
  readonly engine: AedesEngine
  readonly desk: SubscriberDesk
  readonly order: DeliveryOrder
  readonly delivery: LocalDelivery
  readonly retainedDelivery: RetainedDelivery
}

export async function assemble(
  options: BrokerOptions,
  sessions: SessionTable,
  authenticator: Authenticator,
  monotonicMs: () => number,
): Promise<BrokerParts> {
  const { config, appender, devices = null, emit } = options
  const stats = createBrokerStats()
  const reports = new Reports(stats, new EventDamper(monotonicMs), emit, devices)
  const consumers = await assembleConsumers(options, stats, reports)
  const { delivery, desk, engine, order, retainedDelivery, state, subscribers } = consumers
  const { copies, retained, subscriptions } = state
  const sys = assembleSysTree(options, consumers, stats, reports, monotonicMs)
  const publishing: PublishContext = {
    config,
    appender,
    router: new Router(appender.streams),
    subscribers,
    retained,
    copies,
    delivery,
    sessions,
    stats,
    reports,
    devices,
    nowMs: options.nowMs ?? Date.now,
    monotonicMs,
    view: new PublishView(),
    message: reusableMessage(),
    hash: new MessageHash(),
  }
  const delayedWills = new DelayedWills()
  const clientIds = new ClientIds(reports, monotonicMs)
  const { cluster = null } = options
  const clients = new LocalClients(clientIds, delayedWills)
  const context: GateContext = {
    ...publishing,
    admission: new ConnectAdmission(),
    clientIds,
    neighbors: cluster && new Neighbors(cluster.bus, clients, cluster.name, monotonicMs, reports),
    authenticate: options.authenticate ?? ((request) => authenticator.authenticate(request)),
    mintClientId: options.mintClientId ?? (() => `sluice-${randomBytes(8).toString('hex')}`),
    wills: new Wills(publishing),
    delayedWills,
    desk,
    order,
    state,
    retainedDelivery,
    endSession: (ended) => {
      reports.sessionEnded(ended)
      delayedWills.sessionEnded(ended.clientId)
      state
        .discardSession(ended.clientId)
        .catch((error: unknown) => reports.fault('forget session', error))
    },
    onSysSubscribe: () => sys.refresh(),
  }
  const gate = new Gate(context)
  sys.start(config.sysInterval)
  for (const clientId of sessions.endedAtStart) void state.discardSession(clientId)
  adoptSubscribers(sessions, subscriptions)
  copies.discardExcept((clientId) => sessions.find(clientId) !== undefined)
  return { context, gate, engine, state, sys, authenticator }
}

async function assembleConsumers(
  { config, appender, emit }: BrokerOptions,
  stats: BrokerStats,
  reports: Reports,
): Promise<Consumers> {
  const order = new DeliveryOrder()
  const state = await ConsumerState.load(appender, config, order, emit)
  const subscribers = new LocalMq(state.subscriptions, emit)
  const engine = await AedesEngine.create(subscribers, reports)
  const desk = new SubscriberDesk(engine, state.copies, reports)
  const delivery = new LocalDelivery({
    limits: config,
    stats,
    reports,
    order,
    copies: state.copies,
    deliver: (message) => desk.deliver(message),
    durable: appender.durableTicket,
  })
  const retainedDelivery = new RetainedDelivery(state.retained, config, delivery)
  // Behind the state, which makes the values of a commit visible, and before the gate, which
  // releases live copies.
  appender.onDurable((ticket) => retainedDelivery.durable(ticket))
  return { state, subscribers, engine, desk, order, delivery, retainedDelivery }
}

function assembleSysTree(
  { appender, version = 'unknown' }: BrokerOptions,
  { delivery, state, subscribers }: Consumers,
  stats: BrokerStats,
  reports: Reports,
  monotonicMs: () => number,
): SysTree {
  return new SysTree({
    stats,
    retainedMessages: () => state.retained.count,
    version: `sluice version ${version}`,
    monotonicMs,
    hasSubscriber: (topic) => subscribers.hasListener(topic),
    retain: (topic, payload) => state.retained.show(topic, payload),
    send: (topic, payload) => {
      const message = { topic, payload, qos: 0, retain: false, from: '', options: null } as const
      delivery.offer(message, appender.durableTicket, null)
    },
    onFault: (error) => reports.fault('$SYS', error),
  })
}

export function recoverSessions(options: BrokerOptions, monotonicMs: () => number): SessionTable {
  const sessions = new SessionTable(options.config, monotonicMs)
  const fault = sessions.recover(options.appender.attach(sessions))
  if (fault !== null) options.emit({ type: 'broker.sessions-damaged', detail: fault })
  const packetIds = sessions.openIds
  options.emit({ type: 'broker.sessions-recovered', sessions: sessions.size, packetIds })
  return sessions
}

/**
 * Every stored subscription belongs to a session; one whose session was lost gets it back, so that
 * it can expire.
 */
function adoptSubscribers(sessions: SessionTable, subscriptions: SubscriptionTable): void {
  for (const clientId of subscriptions.clientIds) {
    if (sessions.find(clientId) !== undefined) continue
    const opened = sessions.open(clientId, () => {})
    if (opened === null) continue
    sessions.markSubscribed(opened.session)
    sessions.leave(opened.session)
  }
}
