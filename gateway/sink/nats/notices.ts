/**
 * Notices between gateways on core NATS, by the servers and the login of a sink, over a connection
 * of their own. It connects again for as long as it is open, and tells when it has; what is sent
 * meanwhile is lost, and said to be. A loss is told once, and so is its end.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { NoticeBus } from '../../ports/notices.ts'
import type { NoticeOptions } from '../sink-type.ts'
import type { NatsSinkConfig } from './config.ts'
import { LinkFault, NatsLink, type OpenLink } from './jetstream/link.ts'

/** Between two tries to connect: the first, and at most. */
const FIRST_WAIT_MS = 500
const MAX_WAIT_MS = 15_000

export class NatsNotices implements NoticeBus {
  readonly #options: NoticeOptions<NatsSinkConfig>
  readonly #link: NatsLink
  readonly #closing = new AbortController()
  #open: OpenLink | null = null
  #listener: (bytes: Uint8Array) => void = () => undefined
  #whenConnected: () => void = () => undefined
  #detail: string | null = null
  /** The loss was told, its end was not. */
  #isToldLost = false

  constructor(options: NoticeOptions<NatsSinkConfig>) {
    this.#options = options
    this.#link = new NatsLink(`${options.name} takeover`, options.config)
    void this.#run()
  }

  get isConnected(): boolean {
    return this.#open !== null
  }

  get detail(): string | null {
    return this.#detail
  }

  send(bytes: Uint8Array): boolean {
    if (this.#open === null) return false
    try {
      this.#open.connection.publish(this.#options.subject, bytes)
      return true
    } catch {
      // It has just ended; #run is told of that, too.
      return false
    }
  }

  onReceived(listener: (bytes: Uint8Array) => void): void {
    this.#listener = listener
  }

  onConnected(listener: () => void): void {
    this.#whenConnected = listener
  }

  close(): void {
    this.#closing.abort()
    this.#link.close()
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing
    let waitMs = FIRST_WAIT_MS
    while (!signal.aborted) {
      const link = await this.#connect()
      if (link !== null) {
        waitMs = FIRST_WAIT_MS
        await this.#use(link)
      }
      if (signal.aborted) return
      // Gateways that lost the same server do not come back at once.
      await sleep(waitMs * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined)
      waitMs = Math.min(2 * waitMs, MAX_WAIT_MS)
    }
  }

  async #connect(): Promise<OpenLink | null> {
    try {
      return await this.#link.open()
    } catch (error) {
      if (!(error instanceof LinkFault)) throw error
      this.#lost(error.message)
      return null
    }
  }

  /** Until it ends. */
  async #use(link: OpenLink): Promise<void> {
    const { name, subject, emit } = this.#options
    let isDenied = false
    link.onDenied((detail) => {
      isDenied = true
      this.#lost(`${detail}; give the user publish and subscribe for ${subject}`)
      this.#link.drop(link, detail)
    })
    link.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) this.#listener(message.data)
      },
    })
    // What was denied is known once the server has read the subscription.
    await Promise.race([link.connection.flush().catch(() => undefined), link.ended])
    if (link.isOpen && !isDenied) {
      this.#open = link
      this.#detail = null
      if (this.#isToldLost) emit({ type: 'sink.notices-back', sink: name })
      this.#isToldLost = false
      this.#whenConnected()
    }
    const why = await link.ended
    this.#open = null
    if (!this.#closing.signal.aborted) this.#lost(why)
  }

  #lost(detail: string): void {
    this.#open = null
    this.#detail = detail
    if (this.#isToldLost) return
    this.#isToldLost = true
    this.#options.emit({ type: 'sink.notices-lost', sink: this.#options.name, detail })
  }
}
