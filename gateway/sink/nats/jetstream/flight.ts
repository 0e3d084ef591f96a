/** Messages of one batch in progress side by side, each with its own ack, in their order. */
import type { NatsMessage } from '../encode.ts'
import type { OpenLink } from './link.ts'
import { type Failure, held, readReply, unanswered } from './reply.ts'

const NO_RESPONDERS: Failure = {
  kind: 'retry',
  scope: 'sink',
  code: '503',
  answered: true,
  detail: 'no responders: no stream takes it now',
}

export class Flight {
  readonly #link: OpenLink
  readonly #stream: string
  readonly #timeoutMs: number
  readonly #inbox: string
  readonly #subscription: { unsubscribe(): void }
  readonly #forget: () => void
  /** Seqs by the number of their message, oldest first. */
  readonly #waiting = new Map<number, number>()
  #count = 0
  /** Who waits is woken when fewer are in progress. */
  #room = 0
  #wake: () => void = () => undefined
  #timer: NodeJS.Timeout | null = null
  #failure: Failure | null = null
  /** The oldest record that was answered with something else than an ack. */
  #failedSeq = Number.POSITIVE_INFINITY
  /** No answer comes any more. */
  #isLost = false
  bytes = 0

  constructor(link: OpenLink, options: { readonly stream: string; readonly timeoutMs: number }) {
    this.#link = link
    this.#stream = options.stream
    this.#timeoutMs = options.timeoutMs
    this.#inbox = link.library.createInbox()
    this.#subscription = link.connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error !== null) return this.giveUp(unanswered(error.message))
        const number = Number(message.subject.slice(this.#inbox.length + 1))
        this.#answered(number, message.data, message.headers?.code ?? 0)
      },
    })
    this.#forget = link.onDenied((detail) =>
      this.giveUp(held(null, `${detail}; give the user the permission`)),
    )
    void link.ended.then((why) => this.giveUp(unanswered(why)))
  }

  /** Of the message that failed first; null: none did. */
  get failure(): Failure | null {
    return this.#failure
  }

  /** Seq of the oldest record that has no ack. */
  get firstNotStored(): number {
    const [oldest = Number.POSITIVE_INFINITY] = this.#waiting.values()
    return Math.min(this.#failedSeq, oldest)
  }

  /** Waits until fewer than `window` messages are in progress. False: one failed. */
  async hasRoom(window: number): Promise<boolean> {
    while (this.#failure === null && this.#waiting.size >= window) await this.#fewerThan(window)
    return this.#failure === null
  }

  /** Waits until each message has its answer, or none comes any more. */
  async landed(): Promise<void> {
    while (!this.#isLost && this.#waiting.size > 0) await this.#fewerThan(1)
  }

  publish(seq: number, message: NatsMessage): void {
    const number = this.#count++
    this.#waiting.set(number, seq)
    this.bytes += message.body.length
    const headers = this.#link.headersOf(message, [['Nats-Expected-Stream', this.#stream]])
    const reply = `${this.#inbox}.${number}`
    try {
      this.#link.connection.publish(message.subject, message.body, { headers, reply })
    } catch (error) {
      this.giveUp(unanswered((error as Error).message))
    }
  }

  giveUp(failure: Failure): void {
    this.#isLost = true
    this.#fail(failure)
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#forget()
    if (this.#link.isOpen) this.#subscription.unsubscribe()
  }

  async #fewerThan(room: number): Promise<void> {
    this.#room = room
    this.#watch()
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
  }

  #fail(failure: Failure): void {
    this.#failure ??= failure
    this.#wake()
  }

  #answered(number: number, data: Uint8Array, status: number): void {
    const seq = this.#waiting.get(number)
    if (seq === undefined) return
    this.#waiting.delete(number)
    const reply = status === 503 ? NO_RESPONDERS : readReply(data, this.#stream)
    if (reply.kind !== 'stored') {
      this.#failedSeq = Math.min(this.#failedSeq, seq)
      const failure =
        reply.kind === 'not-last' ? held(null, `not an answer to a record: ${reply.detail}`) : reply
      this.#fail(failure)
    }
    if (this.#waiting.size < this.#room) this.#wake()
    else this.#watch()
  }

  /** An answer is progress. */
  #watch(): void {
    if (this.#timer === null) {
      const seconds = Math.round(this.#timeoutMs / 1000)
      this.#timer = setTimeout(() => {
        this.giveUp(unanswered(`no ack for ${seconds} s`, { timedOut: true }))
      }, this.#timeoutMs)
    } else this.#timer.refresh()
  }
}
