/**
 * One connection to the database. A statement that is given up is cancelled in the database, and
 * its connection goes with it: what has become of it is read back by the next try. Not here: which
 * host, how many (links.ts), what errors mean (faults.ts).
 */
import { connect, type Socket } from 'node:net'
import type { Client } from 'pg'
import type { Statement } from '../sql/statements.ts'
import type { DatabaseHost } from './address.ts'
import { GivenUpError } from './faults.ts'

/** A cancel request as the protocol has it: length, code, process, key. */
const CANCEL_BYTES = 16
const CANCEL_CODE = 80_877_102
/** It may be that nobody is there to take it. */
const CANCEL_MS = 1000

export type Row = Readonly<Record<string, string | null>>

/** How long a statement may take, and what else ends the wait for it. */
export interface StatementPatience {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

export class Link {
  readonly #client: Client
  readonly #socket: Socket
  readonly #host: DatabaseHost
  #isOpen = true

  /** @param client connected, over `socket` */
  constructor(client: Client, socket: Socket, host: DatabaseHost) {
    this.#client = client
    this.#socket = socket
    this.#host = host
    const ended = (): void => {
      this.#isOpen = false
    }
    client.on('error', ended)
    client.on('end', ended)
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Bytes that the system took so far, of all statements. */
  get sentBytes(): number {
    return this.#socket.bytesWritten - this.#socket.writableLength
  }

  /** Of the last statement of a text. @throws what the database says, or {@link GivenUpError} */
  async run({ text, values }: Statement, patience: StatementPatience): Promise<Row[]> {
    if (patience.signal.aborted) throw new GivenUpError('given up before it was sent', false)
    const answer = this.#client.query<Row>({ text, values: [...values] })
    const { rows } = await this.#orGivenUp(answer, patience)
    return rows
  }

  /** Ends the connection; a statement in progress is cancelled. */
  destroy(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#socket.destroy()
  }

  async #orGivenUp<T>(answer: Promise<T>, { timeoutMs, signal }: StatementPatience): Promise<T> {
    let giveUp: (error: GivenUpError) => void = () => undefined
    const givenUp = new Promise<never>((_, reject) => {
      giveUp = reject
    })
    const onAbort = (): void => giveUp(new GivenUpError('given up before an answer came', false))
    const timer = setTimeout(() => {
      giveUp(new GivenUpError(`no answer for ${timeoutMs / 1000} s`, true))
    }, timeoutMs)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([answer, givenUp])
    } catch (error) {
      if (error instanceof GivenUpError) {
        answer.catch(() => undefined)
        this.#cancel()
        this.destroy()
      }
      throw error
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** Or the database goes on with it, and each further try would wait behind it for its locks. */
  #cancel(): void {
    const { processID, secretKey } = this.#client as Client & {
      readonly processID: number | null
      readonly secretKey: number | null
    }
    if (typeof processID !== 'number' || typeof secretKey !== 'number') return
    const request = Buffer.alloc(CANCEL_BYTES)
    request.writeInt32BE(CANCEL_BYTES, 0)
    request.writeInt32BE(CANCEL_CODE, 4)
    request.writeInt32BE(processID, 8)
    request.writeInt32BE(secretKey, 12)
    const { host, port } = this.#host
    const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host)
    socket.setTimeout(CANCEL_MS, () => socket.destroy())
    socket.on('error', () => undefined)
    socket.unref()
    socket.end(request)
  }
}
