/**
 * What devices measure. A model gives readings as JSON bytes of about a chosen size; every reading carries its
 * device, its number n (from 1, without holes) and the simulated time of measuring. Same kind, seed and options: same
 * bytes, always; nothing here reads a clock. Not here: when a reading is sent, and how.
 */
import { Random } from '../random.ts'
import { doorValues } from './door.ts'
import { energyValues } from './energy.ts'
import { gpsValues } from './gps.ts'
import { temperatureValues } from './temperature.ts'
import type { Values } from './values.ts'
import { vibrationValues } from './vibration.ts'
import { Walk } from './walk.ts'

export const MODEL_KINDS = ['temperature', 'vibration', 'energy', 'gps', 'door'] as const
export type ModelKind = (typeof MODEL_KINDS)[number]

export interface ModelOptions {
  /** Member `device` of every reading. @default 'sim' */
  readonly device?: string
  /** Bytes of a reading, met within a few; never less than what the model's own values take. @default 200 */
  readonly payloadBytes?: number
  /** Simulated time between two readings, ms. @default 1000 */
  readonly intervalMs?: number
}

export interface Model {
  readonly kind: ModelKind
  /** Number of the reading that `next` gave last; 0 before the first. */
  readonly n: number
  next(): Buffer
}

/** Simulated time of a model's start. Fixed, so that a seed alone decides every byte. */
const EPOCH_MS = Date.UTC(2026, 0, 1)

const VALUES: Readonly<Record<ModelKind, (random: Random) => Values>> = {
  temperature: temperatureValues,
  vibration: vibrationValues,
  energy: energyValues,
  gps: gpsValues,
  door: doorValues,
}

export function isModelKind(name: string): name is ModelKind {
  return MODEL_KINDS.some((kind) => kind === name)
}

/** @param seed the same seed gives the same readings */
export function createModel(kind: ModelKind, seed: number | string, options: ModelOptions = {}): Model {
  const device = options.device ?? 'sim'
  const payloadBytes = options.payloadBytes ?? 200
  const intervalMs = options.intervalMs ?? 1000
  const random = new Random(seed, `model/${kind}/${device}`)
  const values = VALUES[kind](random)
  const filler = new Walk(random, { low: 0, high: 4095, step: 9 })
  const head = `{"device":${JSON.stringify(device)},"n":`
  let n = 0
  return {
    kind,
    get n() {
      return n
    },
    next() {
      n++
      const atMs = EPOCH_MS + n * intervalMs
      const text = `${head}${n},"at":"${new Date(atMs).toISOString()}","kind":"${kind}",${values(atMs)}`
      return Buffer.from(fill(text, payloadBytes, filler))
    },
  }
}

/** Closes the object, with raw samples (a slow walk of a 12-bit converter) up to the size that is wanted. */
function fill(text: string, payloadBytes: number, filler: Walk): string {
  const opening = ',"raw":['
  let room = payloadBytes - text.length - opening.length - 2
  if (room < 1) return `${text}}`
  let samples = ''
  for (;;) {
    const sample = filler.next().toFixed(0)
    if (samples !== '' && room < sample.length + 1) break
    samples += samples === '' ? sample : `,${sample}`
    room = payloadBytes - text.length - opening.length - 2 - samples.length
    if (room < 2) break
  }
  return `${text}${opening}${samples}]}`
}
