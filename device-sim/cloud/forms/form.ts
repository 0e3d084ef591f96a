/**
 * A form in which the reference cloud takes bodies. A reader brings the lines of the contract out of
 * a body, so that the store, its one number and the fleet's ledger judge every form alike. Written
 * from the specifications of the forms, apart from what the gateway makes them with.
 */
import type { Taken } from '../store/queue.ts'

/** What is said to the gateway. */
export interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Readonly<Record<string, unknown>>
}

/** How a body breaks its form: the answer is a 400 with the reason. */
export class BrokenForm extends Error {}

export interface Form {
  /** The media type, without parameters. */
  readonly contentType: string
  /** The body is a gzip file, not one that was compressed for the way. */
  readonly isGzipFile?: boolean
  /** The lines in the body, each with LF. @throws BrokenForm */
  lines(body: Buffer, url: URL): Buffer
  /** What a receiver of this form answers; absent: as the contract does. */
  answer?(taken: Taken, seqs: readonly number[]): Answer
}

export interface Reading {
  /** `<gateway>:<spool>:<stream>:<seq>` */
  readonly id: string
  readonly device: string
  readonly topic?: string | undefined
  readonly receivedAt?: string | undefined
  /** JSON text; null: it is `base64`. */
  readonly payload: string | null
  readonly base64?: string
}

/** A line of the contract. @throws BrokenForm */
export function lineOf({ id, device, topic, receivedAt, payload, base64 }: Reading): string {
  const seq = seqOf(id)
  if (typeof device !== 'string' || device === '') throw new BrokenForm(`${id} has no device`)
  const known = JSON.stringify({ id, seq, device, topic, receivedAt }).slice(0, -1)
  return payload === null
    ? `${known},"payloadBase64":${JSON.stringify(base64 ?? '')}}\n`
    : `${known},"payload":${payload}}\n`
}

/** @throws BrokenForm */
export function seqOf(id: unknown): number {
  const digits = typeof id === 'string' ? /^[^:]+:[^:]+:[^:]+:(\d{1,16})$/.exec(id)?.[1] : undefined
  if (digits === undefined) throw new BrokenForm(`${JSON.stringify(id)} is no id of a record`)
  return Number(digits)
}

/** @throws BrokenForm */
export function parsed(json: string, what: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    throw new BrokenForm(`${what} is not JSON`)
  }
}

/** The text of a JSON string; null: it is none. */
export function textOf(json: string | undefined): string | null {
  if (json === undefined || !json.startsWith('"')) return null
  return JSON.parse(json) as string
}
