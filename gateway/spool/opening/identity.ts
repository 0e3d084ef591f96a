/**
 * Under which name new records are numbered (I4): the gateway id, the spool id, and where numbering
 * begins. Plain decisions at an opening; the lease that they rest on is stream/leases.ts.
 */
import { randomBytes } from 'node:crypto'
import type { EmitSpoolEvent } from '../events.ts'
import type { LeaseKeeper } from '../stream/leases.ts'
import type { Identity } from '../stream/state.ts'
import type { SpoolStream } from '../stream/stream.ts'
import { skipSeqsTo } from '../stream/transitions.ts'
import type { OpenedFolder } from './opened-folder.ts'
import type { RecoveredState } from './recovery.ts'

/**
 * 80 random bits in lower-case base 32 without look-alikes: safe in headers, file names and on the
 * telephone.
 */
export function mintSpoolId(): string {
  const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789'
  return Array.from(randomBytes(16), (byte) => alphabet[byte & 31]).join('')
}

/** Lower case, other characters to '-', as the ingest contract has names. */
function gatewayIdFromHost(hostName: string): string {
  const id = hostName
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, '-')
    .replace(/^-+/, '')
    .slice(0, 63)
  return id === '' ? 'gateway' : id
}

/** What the configuration and the operator say about it. */
export interface WantedIdentity {
  /** null: keep the stored one, or derive one from `hostName`. */
  readonly gatewayId: string | null
  readonly hostName: string
  /** New records start under a fresh spool id (a data folder restored from a backup). */
  readonly newSpoolId?: boolean
  /** Where fresh spool ids come from. @default mintSpoolId */
  readonly mintId?: () => string
  readonly emit: EmitSpoolEvent
}

/** A fresh spool id wherever numbers could be used twice, else the stored one. */
export function chooseIdentity(wanted: WantedIdentity, folder: OpenedFolder): Identity {
  const { recovered, leaseState } = folder
  const stored = recovered?.gateway ?? null
  const gateway = wanted.gatewayId ?? stored ?? gatewayIdFromHost(wanted.hostName)
  const because = [
    !recovered?.spoolId && 'there is none yet',
    wanted.newSpoolId && 'it was asked for',
    recovered && movedText(folder.place.moved),
    stored !== null && stored !== gateway && `gateway.id changed from ${stored} to ${gateway}`,
    recovered && leaseState !== 'ok' && `the seq lease is ${leaseState}`,
    recovered &&
      leaseState === 'ok' &&
      isLeaseStale(recovered, folder.leaseEnds) &&
      'the seq lease and the records disagree',
  ].filter((why) => typeof why === 'string')
  if (because.length === 0 && recovered?.spoolId) return { spoolId: recovered.spoolId, gateway }
  const spoolId = (wanted.mintId ?? mintSpoolId)()
  if (recovered) wanted.emit({ type: 'spool.identity-changed', spoolId, why: because.join('; ') })
  return { spoolId, gateway }
}

/** Older records drain first, under the id that they were written with. */
function movedText(why: string | null): string | null {
  return why && `the data folder was copied, moved or restored from a backup (${why})`
}

/**
 * A lease is ahead of every stream, always: one that is not lost its newer slot. And it knows the
 * newest spool id only: if that is another one, the state is older than it.
 */
function isLeaseStale(recovered: RecoveredState, ends: ReadonlyMap<string, number>): boolean {
  const isOther = [...ends.keys()].some((key) => !key.startsWith(`${recovered.spoolId}/`))
  if (isOther) return true
  return [...recovered.streams.values()].some(({ state }) => {
    const { spoolId } = state.identities.at(-1) as Identity
    return (
      spoolId === recovered.spoolId && state.nextSeq > (ends.get(`${spoolId}/${state.name}`) ?? 1)
    )
  })
}

/** Numbering begins at the lease's end: numbers below it that hold no record will never come. */
export function applyLease(
  streams: Iterable<SpoolStream>,
  leases: LeaseKeeper,
  ends: ReadonlyMap<string, number>,
  existed: boolean,
  damaged: boolean,
): void {
  for (const stream of streams) {
    const { state } = stream
    const end = ends.get(leases.key(stream)) ?? 0
    if (existed && end > state.nextSeq) {
      // Of damaged files nobody can say what was in them.
      const reason = damaged ? 'corrupt' : 'unused'
      skipSeqsTo(state, end, reason)
    }
    stream.leaseEnd = end
  }
}
