/**
 * What one device measures, in the order it will send it: its model's readings, some of them late,
 * malformed or to be sent twice. Depends on the seed alone (and on the time, where that is given),
 * never on the network. Not here: sending (device.ts).
 */
import { createModel, type Model, type ModelKind } from '../models/model.ts'
import { Random } from '../random.ts'
import type { FaultRates } from './options.ts'

export interface Reading {
  readonly n: number
  readonly topic: string
  readonly payload: Buffer
  /** Its PUBLISH goes out twice. */
  readonly twice: boolean
}

interface SourceOptions {
  readonly device: string
  readonly kind: ModelKind
  readonly seed: string
  readonly topic: string
  readonly payloadBytes: number
  readonly intervalMs: number
  readonly faults: FaultRates
}

interface SourceCounts {
  late: number
  malformed: number
}

const MAX_LATE_READINGS = 20

interface Held {
  readonly reading: Reading
  /** Readings that still go out before it. */
  behind: number
}

export class ReadingSource {
  readonly #options: SourceOptions
  readonly #model: Model
  readonly #random: Random
  readonly #counts: SourceCounts
  readonly #held: Held[] = []

  constructor(options: SourceOptions, counts: SourceCounts) {
    this.#options = options
    this.#counts = counts
    this.#model = createModel(options.kind, options.seed, options)
    this.#random = new Random(options.seed, `readings/${options.device}`)
  }

  /**
   * Measures once, at `atMs` or a simulated time; gives what is to be sent now: none (it is held
   * back), one, or several.
   */
  measure(atMs?: number): Reading[] {
    const { faults } = this.#options
    // The same numbers are drawn whatever is decided: a rate that changes does not change
    // everything behind it.
    const late = this.#random.chance(faults.lateShare)
    const malformed = this.#random.chance(faults.malformedShare)
    const twice = this.#random.chance(faults.duplicateShare)
    const behind = 1 + this.#random.below(MAX_LATE_READINGS)
    const damage = this.#random.uint32()
    const payload = this.#model.next(atMs)
    const { n } = this.#model
    const reading: Reading = {
      n,
      topic: this.#topic(n),
      payload: malformed ? malform(payload, damage) : payload,
      twice,
    }
    if (malformed) this.#counts.malformed++
    if (late) {
      this.#counts.late++
      this.#held.push({ reading, behind })
      return []
    }
    return [reading, ...this.#release()]
  }

  /** What is still held back, when the device measures no more. */
  flush(): Reading[] {
    return this.#held.splice(0).map((held) => held.reading)
  }

  #release(): Reading[] {
    if (this.#held.length === 0) return []
    const due: Reading[] = []
    for (const held of this.#held) held.behind--
    for (let index = 0; index < this.#held.length; ) {
      const held = this.#held[index]
      if (held === undefined || held.behind > 0) {
        index++
        continue
      }
      due.push(held.reading)
      this.#held.splice(index, 1)
    }
    return due
  }

  #topic(n: number): string {
    const { topic, device, kind } = this.#options
    return topic
      .replaceAll('{device}', device)
      .replaceAll('{model}', kind)
      .replaceAll('{n}', String(n % 10))
  }
}

/** Not JSON any more, and still not like any other reading: device and number stay readable. */
export function malform(payload: Buffer, damage: number): Buffer {
  const keep = payload.indexOf('"at":') + 5
  switch (damage % 3) {
    case 0: // cut off, as by a device that reset while it wrote
      return payload.subarray(0, keep + (Math.floor(damage / 3) % (payload.length - keep)))
    case 1: // ill-formed UTF-8 in place of the closing brace
      return Buffer.concat([payload.subarray(0, payload.length - 1), Buffer.from([0xc3, 0x28])])
    default: // binary
      return Buffer.concat([Buffer.from([0x00, 0xff, 0xfe, 0x0a]), payload.subarray(0, keep)])
  }
}
