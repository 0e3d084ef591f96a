/**
 * One client id towards the broker: its connection, opened when it is needed and again after it
 * ended, one exchange at a time. Notices when two clients fight for the id. What an end means is
 * judged elsewhere.
 */
import type { MqttConnection } from './connection.ts'
import { type Ending, NotConnected } from './ending.ts'

interface BrokerLinkOptions {
  /** @throws NotConnected, DialError and others of the network */
  readonly open: (signal: AbortSignal, session?: 'none') => Promise<MqttConnection>
}

/** A connection that ends sooner is cut short by something, ms. */
const SHORT_MS = 10_000
/** Short ones in a row that are no accident any more. */
const MANY_SHORT = 5
/** An idle connection is opened again after this, doubled up to the longest, ms. */
const REOPEN_MS = 1000
const MAX_REOPEN_MS = 60_000
/** Reason code of DISCONNECT (MQTT 5). */
const TAKEN_OVER = 0x8e

export class BrokerLink {
  readonly #o: BrokerLinkOptions
  #tail: Promise<unknown> = Promise.resolve()
  #connection: MqttConnection | null = null
  #opening: AbortController | null = null
  #timer: NodeJS.Timeout | null = null
  #reopenMs = REOPEN_MS
  #shortInARow = 0
  /** How another client took the id; the next batch does not take it back at once. */
  #taken: Ending | null = null
  #isClosed = false
  /** Why there is no connection; null: there is one, or none was wanted yet. */
  lastEnding: unknown = null

  constructor(options: BrokerLinkOptions) {
    this.#o = options
  }

  get isConnected(): boolean {
    return this.#connection !== null && this.#connection.ending === null
  }

  /** The broker cut several connections in a row soon after they were made. */
  get isFoughtFor(): boolean {
    return this.#shortInARow >= MANY_SHORT
  }

  /** After those that came before. */
  async inTurn<T>(job: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(job)
    this.#tail = done.catch(() => undefined)
    return await done
  }

  /**
   * Another client has the id: told once, so that it is not taken back before the drain's hold is
   * over, and two gateways do not cut each other off all the time. null: nothing of that.
   */
  takeover(): Ending | null {
    const taken = this.isConnected ? null : this.#taken
    this.#taken = null
    return taken
  }

  /** @throws NotConnected, and what `open` throws */
  async connection(signal: AbortSignal): Promise<MqttConnection> {
    if (this.#connection !== null && this.#connection.ending === null) return this.#connection
    return await this.#open(signal)
  }

  /**
   * The broker's session goes, with what it has in flight. One that has messages for us is another
   * program's, and stays: its connection ends with them. @throws as {@link connection}
   */
  async forgetSession(signal: AbortSignal): Promise<void> {
    const connection = await this.connection(signal)
    await connection.ping(signal)
    const { ending } = connection
    if (ending !== null) {
      this.lastEnding = ending
      throw new NotConnected(ending)
    }
    connection.close()
    const last = await this.#open(signal, 'none')
    last.close()
  }

  /** An exchange came to its end on this connection. */
  used(connection: MqttConnection, hadProgress: boolean): void {
    const { ending } = connection
    if (ending === null) return
    this.lastEnding = ending
    // Closed at the first message of all: that message may be why.
    if (hadProgress) this.#judge(connection, ending)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#opening?.abort()
    this.#connection?.close()
    await this.#tail
  }

  /** The next batch opens a new one, with other credentials or files. */
  retire(): void {
    this.#shortInARow = 0
    this.#taken = null
    void this.inTurn(async () => {
      this.#connection?.close()
      this.#connection = null
    })
  }

  async #open(signal: AbortSignal, session?: 'none'): Promise<MqttConnection> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    const opening = new AbortController()
    const onAbort = (): void => opening.abort()
    if (signal.aborted || this.#isClosed) opening.abort()
    signal.addEventListener('abort', onAbort, { once: true })
    this.#opening = opening
    try {
      const connection = await this.#o.open(opening.signal, session)
      if (this.#isClosed) {
        connection.close()
        throw new NotConnected({ kind: 'given-up' })
      }
      this.#connection = connection
      this.lastEnding = null
      this.#reopenMs = REOPEN_MS
      connection.onIdleEnd = (ending) => this.#endedIdle(connection, ending)
      return connection
    } catch (error) {
      // It is away or says no: that is no fight.
      this.#shortInARow = 0
      this.lastEnding = error instanceof NotConnected ? error.ending : error
      throw error
    } finally {
      this.#opening = null
      signal.removeEventListener('abort', onAbort)
    }
  }

  #endedIdle(connection: MqttConnection, ending: Ending): void {
    if (connection !== this.#connection || ending.kind === 'given-up') return
    this.lastEnding = ending
    this.#judge(connection, ending)
    if (this.#taken === null) this.#reopenLater()
  }

  /** So that status says the truth while nothing is to be sent. */
  #reopenLater(): void {
    if (this.#isClosed) return
    this.#timer = setTimeout(() => {
      void this.inTurn(async () => {
        if (this.#isClosed || this.isConnected) return
        await this.#open(new AbortController().signal).catch(() => this.#reopenLater())
      })
    }, this.#reopenMs)
    this.#timer.unref()
    this.#reopenMs = Math.min(this.#reopenMs * 2, MAX_REOPEN_MS)
  }

  #judge({ openedAtMs }: MqttConnection, ending: Ending): void {
    if (ending.kind === 'disconnected' && ending.code === TAKEN_OVER) this.#taken = ending
    if (ending.kind !== 'closed' && ending.kind !== 'network') return
    const isShort = performance.now() - openedAtMs < SHORT_MS
    this.#shortInARow = isShort ? this.#shortInARow + 1 : 0
    if (this.isFoughtFor) this.#taken = ending
  }
}
