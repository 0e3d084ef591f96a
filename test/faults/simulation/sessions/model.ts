/**
 * What the standard and the broker's README promise of one client's session, kept beside the
 * gateway's own: whether it is there, and how long it lives. Time without a connection counts while
 * the gateway runs; a kill may take back what no later ack told to be on disk, and forget time that
 * was counted. Pure.
 */
import type { Level } from '../../../support/mqtt-answers.ts'

/** What a CONNECT asks for. */
export interface Wish {
  readonly level: Level
  readonly clean: boolean
  /** Of MQTT 5. */
  readonly expirySeconds: number
}

export const NO_EXPIRY_SECONDS = 0xffff_ffff

export type Expected = 'present' | 'absent' | 'either'

interface State {
  readonly isThere: boolean
  readonly expiryMs: number
  /** Without a connection: at least, and at most. */
  readonly leastIdleMs: number
  readonly mostIdleMs: number
}

const NONE: State = { isThere: false, expiryMs: 0, leastIdleMs: 0, mostIdleMs: 0 }

export class SessionModel {
  /** Packet ids of QoS 2 whose PUBREC came, and no PUBCOMP. */
  readonly openIds = new Set<number>()
  readonly #maxExpiryMs: number
  #isConnected = false
  /** One, unless a kill came in between. */
  #possible: readonly State[] = [NONE]
  /** What the disk may hold beside that. */
  #unsaved: readonly State[] = []

  constructor(maxExpiryMs: number) {
    this.#maxExpiryMs = maxExpiryMs
  }

  /** Of the Session Present of a CONNACK. A connection of the client that lives ends before. */
  expect({ clean }: Wish): Expected {
    if (clean) return 'absent'
    const seen = new Set(this.#possible.map((state) => this.#expectOf(state)))
    return seen.size === 1 ? [...seen][0]! : 'either'
  }

  #expectOf({ isThere, expiryMs, leastIdleMs, mostIdleMs }: State): Expected {
    if (!isThere || leastIdleMs >= expiryMs) return 'absent'
    return this.#isConnected || mostIdleMs < expiryMs ? 'present' : 'either'
  }

  /** As CONNACK has it: what it says to be gone is gone from the disk, too. */
  connect(wish: Wish, isPresent: boolean): void {
    if (!isPresent) this.openIds.clear()
    this.#isConnected = true
    const former = isPresent ? this.#possible.filter(({ isThere }) => isThere) : [NONE]
    this.#change({ ...NONE, isThere: true, expiryMs: this.#expiryMsOf(wish) }, former)
  }

  /** What a CONNACK of MQTT 5 has to say of its expiry, seconds; undefined: as was asked. */
  toldSeconds({ expirySeconds }: Wish): number | undefined {
    const most = this.#maxExpiryMs / 1_000
    return expirySeconds > most ? most : undefined
  }

  /** With DISCONNECT. */
  setExpiry(seconds: number): void {
    const [state = NONE] = this.#possible
    this.#change({ ...state, expiryMs: this.#capped(seconds) }, this.#possible)
  }

  /** The connection ended. */
  leave(): void {
    this.#isConnected = false
    const [state = NONE] = this.#possible
    if (state.expiryMs > 0) return
    this.openIds.clear()
    this.#change(NONE, this.#possible)
  }

  /** The gateway ran for so long. */
  pass(ms: number): void {
    if (this.#isConnected) return
    const older = (state: State): State => ({
      ...state,
      leastIdleMs: state.leastIdleMs + ms,
      mostIdleMs: state.mostIdleMs + ms,
    })
    this.#possible = this.#possible.map(older)
    this.#unsaved = this.#unsaved.map(older)
  }

  /** Something that was handed over later was acknowledged. */
  stored(): void {
    this.#unsaved = []
  }

  /** The gateway was killed, and started again. */
  restart(): void {
    this.#isConnected = false
    this.#possible = [...this.#possible, ...this.#unsaved].map((state) => ({
      ...state,
      // A session of expiry 0 ended with its connection.
      isThere: state.isThere && state.expiryMs > 0,
      leastIdleMs: 0,
    }))
    this.#unsaved = []
    if (this.#possible.every(({ isThere }) => !isThere)) this.openIds.clear()
  }

  #change(state: State, former: readonly State[]): void {
    this.#unsaved = [...this.#unsaved, ...former]
    this.#possible = [state]
  }

  #expiryMsOf({ level, clean, expirySeconds }: Wish): number {
    if (level === 5) return this.#capped(expirySeconds)
    return clean ? 0 : this.#maxExpiryMs
  }

  #capped(seconds: number): number {
    const ms = seconds === NO_EXPIRY_SECONDS ? Number.POSITIVE_INFINITY : seconds * 1_000
    return Math.min(ms, this.#maxExpiryMs)
  }
}
