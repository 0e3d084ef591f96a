/**
 * How far an exchange came, or why there was no connection -> what the drain is told. Pure. Whatever
 * is not clearly an acknowledgment keeps the data (I8).
 */
import type { Listed, SinkAnswer, Transfer } from '../../ports/sink.ts'
import { proxyRefusalOf } from '../http/client/link-error.ts'
import { describeNetworkError } from '../http/client/network-error.ts'
import type { Ending } from './client/ending.ts'
import type { ExchangeProgress, RefusedMessage, Stop } from './client/exchange.ts'
import { type CodeMeaning, codeText, connackWord, disconnectWord } from './client/reason-codes.ts'
import type { BrokerProfile } from './profiles.ts'

/** As people know the broker and this client. */
export interface Parties {
  /** Host and port. */
  readonly target: string
  readonly clientId: string
  readonly version: '3.1.1' | '5'
  readonly profile: BrokerProfile
  /** Connections of this client are cut again and again. */
  readonly isFoughtFor: boolean
}

/** An answer but for what of the batch it acks. */
type Kept = Extract<SinkAnswer, { readonly kind: 'retry' | 'hold' }>

const NO_DATE = { sinkDateMs: null } as const

/** At QoS 1 a part may be acked; at QoS 2 a batch stays whole, and its note knows how far it came. */
export function answerOf(
  progress: ExchangeProgress,
  parties: Parties,
  transfer: Transfer,
  isWhole: boolean,
): SinkAnswer {
  const { doneThroughSeq } = progress
  if (progress.isComplete) return verdicts(progress, null, transfer)
  // The rest goes again at once, and tells by itself what is wrong with it.
  if (!isWhole && doneThroughSeq !== null) return verdicts(progress, doneThroughSeq, transfer)
  const isUnsent = progress.sentBytes === 0
  return { ...whyNot(progress, parties), transfer, ...(isUnsent ? { unsent: true } : {}) }
}

function verdicts(
  { refused }: ExchangeProgress,
  ackedThrough: number | null,
  transfer: Transfer,
): SinkAnswer {
  const listed = refused.flatMap((one) => listedOf(one))
  return { kind: 'verdicts', code: null, ...NO_DATE, ackedThrough, listed, transfer }
}

function listedOf({ seq, code, reason }: RefusedMessage): Listed[] {
  return seq === null ? [] : [{ seq, verdict: 'refused', code, reason }]
}

function whyNot({ failure, stop, ending }: ExchangeProgress, parties: Parties): Kept {
  if (failure !== null) return notNoted(failure)
  if (stop === 'note-too-long')
    return kept(
      'hold',
      'stream',
      null,
      `${parties.target} refuses so many messages of one batch that they cannot be noted; look at topic and message of this sink`,
    )
  if (stop !== null) return stopped(stop, parties)
  return endedBy(ending ?? { kind: 'closed' }, parties)
}

/** The spool did not keep a note: nothing that needs it was sent. */
export function notNoted({ message }: Error): Kept {
  return kept('retry', 'stream', null, `nothing more was sent: ${message}`, false)
}

function stopped({ word, code, reason }: Stop, { target }: Parties): Kept {
  const said = `${target} answered a message with ${codeText(code)}: ${word.words}${quoted(reason)}`
  // Only what a record says of itself can be refused; this message is of none.
  const meaning = word.meaning === 'refused' ? 'hold' : word.meaning
  return ofMeaning(meaning, meaning === 'throttled' ? 'sink' : 'stream', codeText(code), said)
}

/** A connection that is none any more. */
export function endedBy(ending: Ending, parties: Parties): Kept {
  const { target, version, profile, clientId, isFoughtFor } = parties
  switch (ending.kind) {
    case 'refused': {
      const { meaning, words } = connackWord(ending.code, version)
      const code = codeText(ending.code)
      const said = `${target} refused the connection, ${code}: ${words}${quoted(ending.reason)}`
      return ofMeaning(meaning, 'sink', code, said)
    }
    case 'disconnected': {
      const { meaning, words } = disconnectWord(ending.code)
      const code = codeText(ending.code)
      const said = `${target} ended the connection, ${code}: ${words}${quoted(ending.reason)}`
      if (meaning === 'taken-over') return kept('hold', 'sink', code, `${said} (${clientId})`)
      return ofMeaning(meaning, 'sink', code, said)
    }
    case 'protocol':
      return kept('hold', 'sink', null, `${target} ${ending.detail}`)
    case 'unfit':
      return kept('hold', 'sink', null, `${target} ${ending.detail}`)
    case 'silent':
      return kept('retry', 'sink', null, `${target} ${ending.detail}`, false)
    case 'given-up':
      return kept('retry', 'sink', null, `given up; ${target} had not acknowledged all yet`, false)
    case 'network':
      return lost(networkWords(ending.error, target), parties)
    default:
      return lost(
        isFoughtFor
          ? `${target} closed the connection`
          : `${target} closed the connection; ${profile.closed}`,
        parties,
      )
  }
}

/** A try to connect failed below MQTT: name, address, proxy, TLS, WebSocket. */
export function unreachable(error: unknown, { target }: Parties): Kept {
  const words = networkWords(error, target)
  const refusal = proxyRefusalOf(error)
  // What a proxy refuses, it refuses until a person does something.
  if (refusal?.mayPass === false)
    return { ...kept('hold', 'sink', String(refusal.status), words), unsent: true }
  const answer = kept('retry', 'sink', null, words, false)
  return { ...answer, unsent: true }
}

function lost(said: string, { isFoughtFor, clientId }: Parties): Kept {
  if (!isFoughtFor) return kept('retry', 'sink', null, said, false)
  const words = `${said}, several times in a row soon after it was made: another client has the client id ${clientId} (two gateways of one configuration, a copied box); give each its own clientId`
  return kept('hold', 'sink', null, words)
}

function networkWords(error: unknown, target: string): string {
  const refused = /^Unexpected server response: (\d+)$/.exec((error as Error).message)?.[1]
  if (refused !== undefined)
    return `${target} answered the WebSocket's request with ${refused}; check the path in url`
  return describeNetworkError(error, target, { sentBytes: 0, bodyBytes: 0 })
}

function ofMeaning(meaning: CodeMeaning, scope: Kept['scope'], code: string, detail: string): Kept {
  if (meaning === 'throttled') return { ...retried(scope, code, detail, true), throttled: true }
  return kept(meaning === 'retry' ? 'retry' : 'hold', scope, code, detail)
}

function kept(
  kind: 'retry' | 'hold',
  scope: Kept['scope'],
  code: string | null,
  detail: string,
  answered = true,
): Kept {
  if (kind === 'retry') return retried(scope, code, detail, answered)
  return { kind, scope, code, ...NO_DATE, detail }
}

function retried(
  scope: Kept['scope'],
  code: string | null,
  detail: string,
  answered: boolean,
): Extract<Kept, { readonly kind: 'retry' }> {
  return { kind: 'retry', scope, code, ...NO_DATE, retryAfterMs: null, detail, answered }
}

/** Of the broker's own words as much as a line takes. */
function quoted(reason: string | null): string {
  if (reason === null) return ''
  return ` (it says: ${reason.replaceAll(/[\p{C}\s]+/gu, ' ').slice(0, 200)})`
}
