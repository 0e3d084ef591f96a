/**
 * The link between a gateway and its receiver, over real TCP: passes bytes on, or does to them what
 * a bad link does. Counts what it did, so that a fault that met nobody is not taken for one that was
 * survived.
 */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from '../../../device-sim/free-ports.ts'

export const LINK_FAULTS = [
  /** Nobody listens; connections that there are, are reset. */
  'refused',
  /** The receiver gets everything, and its answers do not come back; then the connection is reset. */
  'answers lost',
  /** Connections stay, nothing passes, nobody says so. */
  'half-open',
  /** A few bytes at a time, either way. */
  'slow',
  /** A connection is reset in the middle of what is sent. */
  'cut',
] as const
export type LinkFault = (typeof LINK_FAULTS)[number]

const SLOW_BYTES = 64
const SLOW_MS = 4
/** What passes of a connection before it is cut. */
const CUT_AFTER_BYTES = 150
/** So that the receiver has dealt with what it got before the connection ends. */
const LOST_RESET_MS = 60

interface Pair {
  readonly near: Socket
  readonly far: Socket
  sentBytes: number
  isHit: boolean
  heldBack: boolean
}

export class Link {
  /** Connections that the fault which is set now has met. */
  hits = 0
  readonly port: number
  readonly #target: number
  #server: Server | null = null
  #fault: LinkFault | null = null
  readonly #pairs = new Set<Pair>()

  private constructor(port: number, target: number) {
    this.port = port
    this.#target = target
  }

  static async to(target: number): Promise<Link> {
    const link = new Link(await freePort(), target)
    await link.#listen()
    return link
  }

  get connections(): number {
    return this.#pairs.size
  }

  async begin(fault: LinkFault): Promise<void> {
    this.hits = 0
    this.#fault = fault
    for (const pair of this.#pairs) Object.assign(pair, { sentBytes: 0, isHit: false })
    if (fault !== 'refused') return
    // Who is refused cannot be seen: somebody who is there loses a connection, and will try again.
    if (this.#pairs.size === 0 && this.#server !== null) await once(this.#server, 'connection')
    this.hits += this.#pairs.size
    await this.#stopListening()
  }

  /** What was held back does not come any more: its connections are reset. */
  async end(): Promise<void> {
    const fault = this.#fault
    this.#fault = null
    for (const pair of this.#pairs) if (pair.heldBack) this.#reset(pair)
    if (fault === 'refused') await this.#listen()
  }

  async close(): Promise<void> {
    await this.#stopListening()
  }

  async #listen(): Promise<void> {
    const server = createServer((near) => this.#join(near))
    server.listen(this.port, '127.0.0.1')
    await once(server, 'listening')
    this.#server = server
  }

  async #stopListening(): Promise<void> {
    const server = this.#server
    this.#server = null
    const closed = server === null ? null : once(server, 'close')
    server?.close()
    for (const pair of this.#pairs) this.#reset(pair)
    await closed
  }

  #join(near: Socket): void {
    const far = connect(this.#target, '127.0.0.1')
    const pair: Pair = { near, far, sentBytes: 0, isHit: false, heldBack: false }
    this.#pairs.add(pair)
    const gone = (): void => this.#reset(pair)
    for (const socket of [near, far]) {
      socket.setNoDelay(true)
      socket.on('error', gone)
      socket.on('close', gone)
    }
    near.on('data', (bytes: Buffer) => this.#sent(pair, bytes))
    far.on('data', (bytes: Buffer) => this.#answered(pair, bytes))
    near.on('end', () => far.end())
    far.on('end', () => {
      if (!pair.heldBack) near.end()
    })
  }

  #sent(pair: Pair, bytes: Buffer): void {
    switch (this.#fault) {
      case 'half-open':
        this.#holdBack(pair)
        return
      case 'slow':
        this.#trickle(pair, pair.near, pair.far, bytes)
        return
      case 'cut': {
        const left = Math.max(0, CUT_AFTER_BYTES - pair.sentBytes)
        pair.sentBytes += bytes.length
        if (bytes.length <= left) break
        this.#hit(pair)
        pair.far.write(bytes.subarray(0, left), () => this.#reset(pair))
        return
      }
      default:
        break
    }
    pair.far.write(bytes)
  }

  #answered(pair: Pair, bytes: Buffer): void {
    switch (this.#fault) {
      case 'half-open':
        this.#holdBack(pair)
        return
      case 'answers lost':
        this.#holdBack(pair)
        setTimeout(() => this.#reset(pair), LOST_RESET_MS)
        return
      case 'slow':
        this.#trickle(pair, pair.far, pair.near, bytes)
        return
      default:
        pair.near.write(bytes)
    }
  }

  #holdBack(pair: Pair): void {
    this.#hit(pair)
    pair.heldBack = true
  }

  #hit(pair: Pair): void {
    if (!pair.isHit) this.hits++
    pair.isHit = true
  }

  #trickle(pair: Pair, from: Socket, to: Socket, bytes: Buffer): void {
    this.#hit(pair)
    from.pause()
    let at = 0
    const timer = setInterval(() => {
      if (at < bytes.length && to.writable) {
        to.write(bytes.subarray(at, at + SLOW_BYTES))
        at += SLOW_BYTES
        return
      }
      clearInterval(timer)
      from.resume()
    }, SLOW_MS)
  }

  #reset(pair: Pair): void {
    if (!this.#pairs.delete(pair)) return
    pair.near.resetAndDestroy()
    pair.far.resetAndDestroy()
  }
}
