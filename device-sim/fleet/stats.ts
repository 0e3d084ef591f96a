/** Counts of a running fleet: plain numbers, written by its devices, read by whoever shows them. */

/** Where in an exchange a connection was cut. */
export type CutPoint = 'publish' | 'puback' | 'pubrec' | 'pubrel' | 'pubcomp' | 'idle'

export class FleetStats {
  /** Connected now. */
  connected = 0
  connects = 0
  /** Connects that found no gateway, or were ended before CONNACK. */
  connectFailures = 0
  /** CONNACK with a code other than 0. */
  connectRefusals = 0
  /** Connections that ended and that this fleet did not cut itself. */
  disconnects = 0
  /** Connections cut by the fleet, storms included. */
  drops = 0
  readonly dropsAt: Record<CutPoint, number> = {
    publish: 0,
    puback: 0,
    pubrec: 0,
    pubrel: 0,
    pubcomp: 0,
    idle: 0,
  }
  halfOpens = 0
  storms = 0
  /** PUBLISH packets on the wire, all in all. */
  sent = 0
  /** Of these: sent again after a reconnect. */
  resent = 0
  /** PUBREL packets sent again after a reconnect. */
  releasesResent = 0
  /** PUBLISH packets that carried a topic alias and no topic. */
  aliased = 0
  /** PUBLISH packets that were sent twice on purpose. */
  duplicates = 0
  late = 0
  malformed = 0
  /** Readings that were not taken because a device's memory was full. */
  skipped = 0
  /** Reconnects of a device with QoS 2 in flight at which the gateway did not know the session. */
  sessionsLost = 0
  /** The same, where the device had been away for longer than its session was to live. */
  sessionsExpired = 0
  /** Readings that went out as new messages because their session had ended. */
  sentAnew = 0
  /** First acks of version 5 by reason code: PUBACK and PUBREC. */
  readonly reasons = new Map<number, number>()
  /** PUBCOMPs that said that the gateway did not know the id any more (0x92). */
  releasesUnknown = 0
  /** DISCONNECTs of the gateway by reason code. */
  readonly farewells = new Map<number, number>()
  /** The lowest and highest Receive Maximum that a gateway granted; null: none yet. */
  grants: { readonly lowest: number; readonly highest: number } | null = null
  /** Times that a device had a reading to send, and the grant was used up before its window. */
  grantWaits = 0
  /** Last errors of connections, by text. */
  readonly errors = new Map<string, number>()
  readonly ackMs = new LatencyHistogram()

  /** The last of them; null: none yet. */
  lastError: string | null = null

  granted(receiveMaximum: number): void {
    const { lowest, highest } = this.grants ?? { lowest: receiveMaximum, highest: receiveMaximum }
    this.grants = {
      lowest: Math.min(lowest, receiveMaximum),
      highest: Math.max(highest, receiveMaximum),
    }
  }

  reason(code: number): void {
    this.reasons.set(code, (this.reasons.get(code) ?? 0) + 1)
  }

  farewell(code: number): void {
    this.farewells.set(code, (this.farewells.get(code) ?? 0) + 1)
  }

  error(text: string): void {
    this.lastError = text
    if (this.errors.size < 50 || this.errors.has(text)) {
      this.errors.set(text, (this.errors.get(text) ?? 0) + 1)
    }
  }
}

const STEPS_PER_DOUBLING = 4
const MIN_MS = 0.25
const BUCKETS = 96

/** Latencies in buckets that grow by a quarter of a doubling each, from 0.25 ms to hours. */
export class LatencyHistogram {
  readonly #counts = new Uint32Array(BUCKETS)
  count = 0
  maxMs = 0

  add(ms: number): void {
    const step = Math.ceil(Math.log2(Math.max(ms, MIN_MS) / MIN_MS) * STEPS_PER_DOUBLING)
    const bucket = Math.min(BUCKETS - 1, step)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.count++
    if (ms > this.maxMs) this.maxMs = ms
  }

  /** Upper bound of the bucket that holds the quantile; 0 without any. */
  quantile(share: number): number {
    let rest = Math.ceil(this.count * share)
    if (rest === 0) return 0
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      rest -= this.#counts[bucket] ?? 0
      if (rest <= 0) return Math.min(this.maxMs, MIN_MS * 2 ** (bucket / STEPS_PER_DOUBLING))
    }
    return this.maxMs
  }
}
