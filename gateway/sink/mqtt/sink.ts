/**
 * The MQTT sink: each record a message to a broker. QoS 1: at least once, over one connection, a
 * batch in turn. QoS 2: exactly once into the broker, with a session for each stream, since packet
 * ids belong to a session and a batch in flight keeps its own over a kill (client/exchange.ts).
 *
 * What of a batch is acked was acknowledged by the broker: PUBACK, or PUBCOMP. A session that the
 * broker has lost is noticed; then what was in flight goes again, it is counted, and the promise
 * says less from then on.
 */
import type { Batch, SinkAnswer, SinkHealth, SinkPromise, Transfer } from '../../ports/sink.ts'
import { errorMessage } from '../../shared/errors.ts'
import { FileWatch } from '../../shared/file-watch.ts'
import { hostAndPort } from '../../shared/hosts.ts'
import { counted } from '../counted.ts'
import type { EmitSinkEvent } from '../events.ts'
import type { ConfiguredSink, SinkOptions } from '../sink-type.ts'
import { createSinkStats } from '../stats.ts'
import { answerOf, endedBy, notNoted, type Parties, unreachable } from './answer.ts'
import { BrokerLink } from './client/broker-link.ts'
import { MqttConnection } from './client/connection.ts'
import { type Ending, NotConnected } from './client/ending.ts'
import { Exchange, type ExchangeProgress, type ReleasePhase } from './client/exchange.ts'
import { noteText, OVER_LIMIT, type ReleaseNote, readNote } from './client/note.ts'
import { BrokerOutbound, Unready } from './client/outbound.ts'
import { PublishPace } from './client/pace.ts'
import { targetOf } from './client/transport.ts'
import { type MqttSinkConfig, mqttFiles } from './config.ts'
import { connectPacket } from './connect-packet.ts'
import { MqttCredentials } from './credentials.ts'
import { MqttEncoder } from './encode.ts'
import { PROFILES } from './profiles.ts'
import { lessPromise, promiseOf } from './promise.ts'

interface MqttSinkOptions extends SinkOptions<MqttSinkConfig> {
  /** Wall clock, ms since the epoch. */
  readonly nowMs?: () => number
  /** How often secret and certificate files are looked at, ms. @default 1000 */
  readonly fileCheckMs?: number
}

export function createMqttSink(options: MqttSinkOptions): ConfiguredSink {
  return new MqttSink(options)
}

/** A client id with its connection, and what this process published of a batch with it. */
interface Client {
  readonly id: string
  readonly link: BrokerLink
  readonly pace: PublishPace | null
  last: { readonly batch: string; published: number } | null
  /** QoS 2: whether ids are in use in the broker's session. */
  inUse: 'none' | 'some' | 'unknown'
}

const ONE_CLIENT_ID =
  'this service knows one client id of a device, under which a try would end the connection of a gateway that runs; use check --try, which logs in nowhere, or watch the first batch'

/** The spool cannot keep that a batch begins. */
class NotNoted extends Error {}

const START: ReleaseNote = { done: 0, arrived: 0, refused: new Map() }

class MqttSink implements ConfiguredSink {
  readonly name: string
  readonly encoder: MqttEncoder
  readonly stats = createSinkStats()
  readonly #config: MqttSinkConfig
  /** Beside the gateway's own client, which a client of the same id would throw out. */
  readonly #isTrial: boolean
  readonly #emit: EmitSinkEvent
  readonly #nowMs: () => number
  readonly #target: string
  readonly #credentials: MqttCredentials
  readonly #outbound: BrokerOutbound
  readonly #watch: FileWatch | null
  readonly #clients = new Map<string, Client>()
  readonly #listeners: Array<() => void> = []
  /** Tries in progress, and those that wait for their turn. */
  readonly #tries = new Set<AbortController>()
  #isClosed = false
  #lostSessions = 0

  constructor(options: MqttSinkOptions) {
    const { config, name, emit, trial = false } = options
    this.name = name
    this.#isTrial = trial
    this.#config = config
    this.#emit = emit
    this.#nowMs = options.nowMs ?? Date.now
    this.encoder = new MqttEncoder(config)
    const { hostname, port } = targetOf(config.url)
    this.#target = hostAndPort(hostname, port)
    const files = mqttFiles(config).map(([, path]) => path)
    this.#watch =
      files.length === 0 ? null : new FileWatch(files, () => this.#readFiles(), options.fileCheckMs)
    this.#credentials = new MqttCredentials(name, config, emit)
    this.#outbound = new BrokerOutbound(name, config, emit)
  }

  get promise(): SinkPromise {
    const promise = promiseOf(this.#config)
    return this.#lostSessions === 0 ? promise : lessPromise(promise, this.#lostSessions)
  }

  get health(): SinkHealth {
    const clients = [...this.#clients.values()]
    if (clients.length === 0) return { connected: null, detail: null }
    const lost = clients.find(({ link }) => !link.isConnected)
    if (lost === undefined) return { connected: true, detail: null }
    return { connected: false, detail: this.#whyNot(lost) }
  }

  /** The client id has the gateway in it, which the first batch tells. */
  start(): void {}

  async send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const { name: sink, stats } = this
    const counting = { sink, stats, emit: this.#emit, nowMs: this.#nowMs }
    const client = this.#clientFor(batch)
    const attempt = new AbortController()
    const onAbort = (): void => attempt.abort()
    if (signal.aborted || this.#isClosed) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    this.#tries.add(attempt)
    try {
      return await counted(counting, batch, () =>
        client.link.inTurn(() => this.#try(batch, client, attempt.signal)),
      )
    } finally {
      this.#tries.delete(attempt)
      signal.removeEventListener('abort', onAbort)
    }
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  async reread(): Promise<void> {
    await this.#readFiles()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    for (const one of this.#tries) one.abort()
    this.#watch?.close()
    await Promise.all([...this.#clients.values()].map(({ link }) => link.close()))
  }

  async #try(batch: Batch, client: Client, signal: AbortSignal): Promise<SinkAnswer> {
    const parties = this.#parties(client)
    if (signal.aborted) return { ...endedBy({ kind: 'given-up' }, parties), unsent: true }
    if (this.#isTrial && parties.profile.hasOneClientId)
      return this.#notConnected(new Unready(ONE_CLIENT_ID), parties, false)
    const takeover = client.link.takeover()
    if (takeover !== null) return { ...endedBy(takeover, parties), unsent: true }
    let connection: MqttConnection
    try {
      connection = await this.#connection(batch, client, signal)
    } catch (error) {
      return this.#notConnected(error, parties, signal.aborted)
    }
    const startedAt = performance.now()
    const onAbort = (): void => connection.destroy({ kind: 'given-up' })
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      if (signal.aborted) onAbort()
      const progress = await this.#exchange(batch, client, connection)
      // What is still under way there would be taken for acknowledgments of the next try.
      if (!progress.isComplete) connection.destroy({ kind: 'given-up' })
      client.link.used(connection, progress.done > 0)
      const { sentBytes: bytes, ending } = progress
      const transfer: Transfer = {
        bytes,
        ms: performance.now() - startedAt,
        timedOut: ending?.kind === 'silent',
      }
      return answerOf(progress, this.#parties(client), transfer, this.#config.qos === 2)
    } catch (error) {
      connection.destroy({ kind: 'given-up' })
      if (error instanceof NotNoted) return { ...notNoted(error), unsent: true }
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /**
   * A batch without a note was never published. What a session has in flight is then of another one
   * that was given up (purged, taken apart, in another form): under the same ids the broker would
   * take new messages for repeats of it, and drop them.
   */
  async #connection(batch: Batch, client: Client, signal: AbortSignal): Promise<MqttConnection> {
    const connection = await client.link.connection(signal)
    if (this.#config.qos === 1 || batch.note !== null || client.inUse === 'none') return connection
    if (client.inUse === 'some' || connection.granted.sessionPresent)
      await client.link.forgetSession(signal)
    client.inUse = 'none'
    return await client.link.connection(signal)
  }

  async #exchange(
    batch: Batch,
    client: Client,
    connection: MqttConnection,
  ): Promise<ExchangeProgress> {
    const { version, window, noSubscribers, timeout: timeoutMs } = this.#config
    const { receiveMaximum, maximumPacketBytes } = connection.granted
    const release = await this.#releasePhase(batch, connection)
    const exchange = new Exchange({
      messages: this.encoder.outgoing(batch, maximumPacketBytes),
      connection,
      version,
      window: Math.min(window, receiveMaximum),
      pace: client.pace,
      noSubscribers,
      dupBefore: release === null ? 0 : this.#publishedBefore(batch, client, release),
      release,
      timeoutMs,
    })
    client.inUse = 'some'
    const progress = await exchange.run()
    this.stats.sentBytes += progress.sentBytes
    const { isComplete, published, refused } = progress
    client.last = isComplete ? null : { batch: nameOf(batch), published }
    // One that is too large now may have been sent by a try that was allowed more.
    if (isComplete && refused.every(({ noted }) => noted !== OVER_LIMIT)) client.inUse = 'none'
    return progress
  }

  /**
   * Where QoS 2 goes on. That it begins is noted first. A broker that lost its session knows nothing
   * of what is in flight: it goes again from the last message that was done with, noted as well.
   */
  async #releasePhase(batch: Batch, { granted }: MqttConnection): Promise<ReleasePhase | null> {
    if (this.#config.qos === 1) return null
    const keep = async (note: ReleaseNote): Promise<boolean> => {
      const text = noteText(note)
      if (text !== null) await batch.keepNote(text)
      return text !== null
    }
    const begins = async (from: ReleaseNote): Promise<void> => {
      await keep(from).catch((error: unknown) => {
        throw new NotNoted(errorMessage(error))
      })
    }
    if (batch.note === null) {
      await begins(START)
      return { from: START, isKept: false, keep }
    }
    const noted = readNote(batch.note)
    if (granted.sessionPresent) return { from: noted, isKept: true, keep }
    const from: ReleaseNote = {
      done: noted.done,
      arrived: noted.done,
      refused: new Map([...noted.refused].filter(([slot]) => slot < noted.done)),
    }
    await begins(from)
    this.#lostSessions += 1
    this.stats.mayRepeat['session-lost'] += 1
    const { stream } = batch
    this.#emit({ type: 'sink.session-lost', sink: this.name, stream, times: this.#lostSessions })
    return { from, isKept: false, keep }
  }

  /** Slots that carry DUP: those that this process published, or a process before it may have. */
  #publishedBefore(batch: Batch, { last }: Client, { from, isKept }: ReleasePhase): number {
    if (!isKept) return 0
    return last?.batch === nameOf(batch) ? last.published : from.arrived + this.#config.window
  }

  #clientFor({ gateway, stream }: Batch): Client {
    const { qos, clientId } = this.#config
    const key = qos === 2 ? stream : ''
    const known = this.#clients.get(key)
    if (known !== undefined) return known
    const own = clientId ?? `sluice-${gateway}-${this.name}`
    const base = this.#isTrial ? `${own}-test` : own
    const id = qos === 2 ? `${base}-${stream}` : base
    const link = new BrokerLink({
      open: (signal, session) => this.#open(id, signal, session ?? (qos === 2 ? 'kept' : 'none')),
    })
    const { rate } = PROFILES[this.#config.profile]
    const pace = rate === null ? null : new PublishPace(rate)
    const client: Client = { id, link, pace, last: null, inUse: 'unknown' }
    this.#clients.set(key, client)
    return client
  }

  /** @throws Unready, NotConnected, DialError and others of the network */
  async #open(
    clientId: string,
    signal: AbortSignal,
    session: 'kept' | 'none',
  ): Promise<MqttConnection> {
    const { qos, retain, connectTimeout: timeoutMs } = this.#config
    const login = this.#credentials.resolve(this.#nowMs())
    if ('why' in login) throw new Unready(login.why)
    const stream = await this.#outbound.open(signal)
    const connect = connectPacket(this.#config, { clientId, session }, login)
    return await MqttConnection.open(stream, { connect, needs: { qos, retain }, timeoutMs }, signal)
  }

  #notConnected(error: unknown, parties: Parties, isAborted: boolean): SinkAnswer {
    if (error instanceof Unready)
      return {
        kind: 'hold',
        scope: 'sink',
        code: null,
        sinkDateMs: null,
        detail: `not connected: ${error.message}`,
        unsent: true,
      }
    if (isAborted) return { ...endedBy({ kind: 'given-up' }, parties), unsent: true }
    if (error instanceof NotConnected) return { ...endedBy(error.ending, parties), unsent: true }
    return unreachable(error, parties)
  }

  #parties({ id: clientId, link }: Client): Parties {
    const { version, profile } = this.#config
    const { isFoughtFor } = link
    return { target: this.#target, clientId, version, profile: PROFILES[profile], isFoughtFor }
  }

  #whyNot(client: Client): string | null {
    const { lastEnding } = client.link
    if (lastEnding === null) return null
    if (lastEnding instanceof Unready) return lastEnding.message
    if (lastEnding instanceof Error) return unreachable(lastEnding, this.#parties(client)).detail
    return endedBy(lastEnding as Ending, this.#parties(client)).detail
  }

  async #readFiles(): Promise<'again' | void> {
    const hasNewSecret = await this.#credentials.refresh()
    const isAnotherWay = await this.#outbound.refresh()
    if (!this.#isClosed && (hasNewSecret || isAnotherWay)) {
      for (const { link } of this.#clients.values()) link.retire()
      for (const listener of this.#listeners) listener()
    }
    if (this.#credentials.failing || this.#outbound.failing) return 'again'
  }
}

function nameOf({ spoolId, firstSeq, lastSeq, fingerprint }: Batch): string {
  return `${spoolId}:${firstSeq}-${lastSeq}:${fingerprint}`
}
