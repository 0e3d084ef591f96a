/**
 * What devices measure. A model gives readings as JSON bytes of about a chosen size; every reading
 * carries its device, its number n (from 1, without holes) and the time of measuring, simulated
 * unless it is given. Same kind, seed and options: same bytes, always; nothing here reads a clock.
 * Not here: when a reading is sent, and how.
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

interface ModelOptions {
  /** Member `device` of every reading. @default 'sim' */
  readonly device?: string
  /**
   * Bytes of a reading, met within a few: filled with raw samples, or without its last values.
   * @default 200
   */
  readonly payloadBytes?: number
  /** Simulated time between two readings, ms. @default 1000 */
  readonly intervalMs?: number
}

export interface Model {
  readonly kind: ModelKind
  /** Number of the reading that `next` gave last; 0 before the first. */
  readonly n: number
  /**
   * @param atMs when it was measured, ms since the epoch @default simulated: from 2026 on, one interval each
   */
  next(atMs?: number): Buffer
}

const TOLERANCE_BYTES = 8

/** What device, number and time take, with a name of usual length. */
export const LEAST_PAYLOAD_BYTES = 80

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
export function createModel(
  kind: ModelKind,
  seed: number | string,
  options: ModelOptions = {},
): Model {
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
    next(atMs = EPOCH_MS + (n + 1) * intervalMs) {
      n++
      const text = `${head}${n},"at":"${new Date(atMs).toISOString()}","kind":"${kind}",${values(atMs)}`
      return Buffer.from(fill(text, payloadBytes, filler))
    },
  }
}

/**
 * Closes the object, with raw samples (a slow walk of a 12-bit converter) up to the size that is
 * wanted.
 */
function fill(text: string, payloadBytes: number, filler: Walk): string {
  const opening = ',"raw":['
  let room = payloadBytes - text.length - opening.length - 2
  if (room < 1) return `${fewerValues(text, payloadBytes)}}`
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

/**
 * Without its last members, if it is longer than wanted by more than a few bytes; device, number
 * and time stay.
 */
function fewerValues(text: string, payloadBytes: number): string {
  const room = payloadBytes + TOLERANCE_BYTES - 1
  if (text.length <= room) return text
  const least = text.indexOf(',"kind":')
  let end = least
  let depth = 0
  for (let at = 1; at <= room; at += 1) {
    const char = text[at]
    if (char === '[' || char === '{') depth += 1
    else if (char === ']' || char === '}') depth -= 1
    else if (char === ',' && depth === 0) end = Math.max(least, at)
  }
  return text.slice(0, end)
}
