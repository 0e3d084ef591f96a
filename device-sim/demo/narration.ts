/**
 * What the demo says while it runs: each kind of thing that goes wrong when it first happens, with
 * what the gateway does about it, and a reading now and then, so that it is never silent for long.
 * Looks at counts alone. Pure but for them.
 */
import type { FaultKind } from '../cloud/faults/faults.ts'
import type { LatestReading } from '../cloud/latest.ts'
import { count } from '../table.ts'

/** One look at everything, taken several times a second. */
export interface Scene {
  readonly seconds: number
  /** How often each fault of the cloud took effect. */
  readonly faults: Readonly<Record<FaultKind, number>>
  /** The cloud does not listen. */
  readonly cloudDown: boolean
  readonly drops: number
  readonly storms: number
  /** Records that wait in the gateway; null: it does not answer. */
  readonly pending: number | null
  /** The last stored reading; null: none yet. */
  readonly latest: LatestReading | null
}

/** With nothing to tell for so long, a reading is shown. */
export const SILENCE_SECONDS = 4
const PAYLOAD_CHARACTERS = 60
/** So few records wait at any moment: the backlog is gone. */
const CAUGHT_UP_RECORDS = 500

const FAULTS: ReadonlyArray<readonly [FaultKind, string]> = [
  [
    'busy',
    'the cloud answers 503 with Retry-After: the gateway keeps everything and waits as long as it was told',
  ],
  [
    'lost-answer',
    'the cloud stored a batch and its answer is lost: the gateway sends the same bytes again, the cloud skips them by seq',
  ],
  ['partial', 'the cloud stores only a part of a batch: the rest is sent again, in order'],
  ['drop-request', 'a request is cut before the cloud stored anything: the same batch again'],
  ['slow', 'the cloud answers slowly: batches grow'],
]

export class Narration {
  readonly #told = new Set<string>()
  #lastSeconds = 0
  #wasDown = false
  #backSeconds: number | null = null

  /** What is to be said now, without the time. */
  look(scene: Scene): string[] {
    const lines = [...this.#first(scene), ...this.#cloud(scene)]
    if (
      lines.length === 0 &&
      scene.seconds - this.#lastSeconds >= SILENCE_SECONDS &&
      scene.latest !== null
    )
      lines.push(scene.cloudDown ? waitingLine(scene) : `just stored: ${readingText(scene.latest)}`)
    if (lines.length > 0) this.#lastSeconds = scene.seconds
    return lines
  }

  /** Somebody else said something. */
  heard(seconds: number): void {
    this.#lastSeconds = seconds
  }

  #first({ faults, drops, storms, latest }: Scene): string[] {
    const lines: string[] = []
    const once = (key: string, happened: boolean, text: () => string): void => {
      if (!happened || this.#told.has(key)) return
      this.#told.add(key)
      lines.push(text())
    }
    once(
      'stored',
      latest !== null,
      () => `the first readings are in the cloud: ${latest === null ? '' : readingText(latest)}`,
    )
    once(
      'drops',
      drops > 0,
      () =>
        'the fleet cuts connections in the middle of exchanges: devices come back and repeat what was not acknowledged',
    )
    once(
      'storms',
      storms > 0,
      () => 'half of the devices lose their connections at once, and come back at once',
    )
    for (const [kind, text] of FAULTS) once(kind, faults[kind] > 0, () => text)
    return lines
  }

  #cloud(scene: Scene): string[] {
    const { seconds, cloudDown, pending } = scene
    if (this.#wasDown && !cloudDown) {
      this.#wasDown = false
      this.#backSeconds = seconds
      return [
        `the cloud is back${pending === null ? '' : `: ${count(pending)} records wait for it`}`,
      ]
    }
    this.#wasDown = cloudDown
    if (this.#backSeconds === null || pending === null || pending > CAUGHT_UP_RECORDS) return []
    const took = (seconds - this.#backSeconds).toFixed(1)
    this.#backSeconds = null
    return [`the backlog is delivered, in order, ${took} s after the cloud came back`]
  }
}

function waitingLine({ pending }: Scene): string {
  return pending === null
    ? 'gateway and cloud are away: devices keep their readings'
    : `${count(pending)} records wait on the gateway's disk for the cloud`
}

function readingText({ device, topic, payload }: LatestReading): string {
  const text = `${device} on ${topic}  ${payload}`.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    '\uFFFD',
  )
  const longest = device.length + topic.length + PAYLOAD_CHARACTERS
  return text.length > longest ? `${text.slice(0, longest)}…` : text
}
