/**
 * The first sentence of the console: is data flowing, is anything lost, how long can the box hold
 * out? Pure. Each trouble by itself: attention.ts.
 */
import type { SinkStatus, Status } from '../../../ports/status.ts'
import { count, counted, hours, plainLine, span } from '../../../shared/text/words.ts'
import type { Rates } from '../live/history.ts'
import { total } from './balance.ts'
import { deliveryText, type Tone } from './states.ts'
import { msOf, since } from './times.ts'

interface Headline {
  readonly tone: Tone
  readonly title: string
  /** What is behind it, and what to do. */
  readonly detail: string
}

export function headline(status: Status, rates: Rates | null, nowMs: number): Headline {
  return intakeTrouble(status, nowMs) ?? deliveryTrouble(status, nowMs) ?? flowing(status, rates)
}

function intakeTrouble({ spool, ...status }: Status, nowMs: number): Headline | null {
  if (status.leaving)
    return {
      tone: 'wait',
      title: 'Out of service: devices are sent away',
      detail: 'What is here is still delivered. The next start puts it back into service.',
    }
  if (spool.state !== 'ok') {
    const sinceMs = msOf(spool.since)
    return {
      tone: 'act',
      title: 'No readings are taken: the disk',
      detail: `Spool ${spool.state}${sinceMs === null ? '' : ` ${since(sinceMs, nowMs)}`}${spool.why === null ? '' : `: ${plainLine(spool.why)}`}. Devices keep what they cannot publish.`,
    }
  }
  if (!status.accepting)
    return {
      tone: 'act',
      title: 'No readings are taken',
      detail: 'The gateway is starting or stopping. Devices keep what they cannot publish.',
    }
  const full = status.streams.find((stream) => stream.waitingMessages > 0)
  if (full === undefined) return null
  return {
    tone: 'act',
    title: `Stream ${full.name} is full`,
    detail: `${counted(full.waitingMessages, 'message')} wait for room, unacknowledged: their devices keep them.`,
  }
}

function deliveryTrouble({ sinks, streams }: Status, nowMs: number): Headline | null {
  const held = sinks.find(({ state }) => state === 'held')
  if (held !== undefined) return kept('act', held, nowMs)
  const stream = streams.find(({ delivery }) => delivery.state === 'held')
  if (stream !== undefined)
    return {
      tone: 'act',
      title: `Stream ${stream.name} is held; its readings are kept on this box`,
      detail: sentence(deliveryText(stream.delivery, nowMs)),
    }
  const retrying = sinks.find(({ state }) => state === 'retrying')
  return retrying === undefined ? null : kept('wait', retrying, nowMs)
}

function kept(tone: Tone, sink: SinkStatus, nowMs: number): Headline {
  return {
    tone,
    title: `Readings are kept on this box: sink ${sink.name} does not take them`,
    detail: sentence(deliveryText(sink, nowMs)),
  }
}

function flowing({ streams }: Status, rates: Rates | null): Headline {
  const backlog = streams.reduce((records, stream) => records + stream.backlogRecords, 0)
  const surplus = rates === null ? 0 : rates.delivered - rates.received
  if (backlog > 1_000 && surplus > 0)
    return {
      tone: 'ok',
      title: 'Data is flowing, and the backlog is being caught up',
      detail: `${count(backlog)} readings wait; at this pace for about ${span(backlog / surplus)}.`,
    }
  if (rates !== null && rates.received === 0 && rates.delivered === 0 && backlog === 0)
    return {
      tone: 'idle',
      title: 'Ready; no readings arrive at the moment',
      detail: 'Everything that arrived is delivered.',
    }
  return {
    tone: 'ok',
    title: 'Data is flowing',
    detail:
      backlog === 0
        ? 'Everything that arrived is delivered.'
        : `${counted(backlog, 'reading')} on the way to the sink.`,
  }
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`
}

/** Is anything lost? Counts of the whole life of the spool, and of this start for the unrouted. */
export function lossText({ streams, broker }: Status): { tone: Tone; text: string } {
  const dropped = streams.reduce((sum, { counters }) => sum + total(counters.dropped), 0)
  const dead = streams.reduce((sum, { deadLetters }) => sum + deadLetters.kept, 0)
  const removed = streams.reduce((sum, { deadLetters }) => sum + total(deadLetters.removed), 0)
  const unrouted = broker?.unrouted.accepted ?? 0
  const parts = [
    ...(dropped > 0 ? [`${counted(dropped, 'reading')} dropped by limits or damage`] : []),
    ...(removed > 0 ? [`${counted(removed, 'dead letter')} removed`] : []),
    ...(unrouted > 0 ? [`${counted(unrouted, 'message')} no stream takes`] : []),
  ]
  if (parts.length > 0) return { tone: 'act', text: `Not delivered: ${parts.join(', ')}` }
  if (dead > 0)
    return { tone: 'wait', text: `Nothing is lost; ${counted(dead, 'dead letter')} kept for you` }
  return { tone: 'ok', text: 'Nothing is lost' }
}

/** How long the box can hold out at this rate: the first of disk and streams that is full. */
export function holdOutText(status: Status): { tone: Tone; text: string } {
  if (status.spool.state !== 'ok') return { tone: 'act', text: 'This box holds nothing more' }
  const left = [status.spool, ...status.streams]
    .map(({ hoursUntilFull }) => hoursUntilFull)
    .filter((value) => value !== null)
  if (left.length === 0)
    return status.streams.every(({ delivery }) => delivery.state === 'ok')
      ? { tone: 'ok', text: 'The spool is not filling' }
      : { tone: 'idle', text: 'No forecast yet of how long this box holds out' }
  const least = Math.min(...left)
  return {
    tone: least < 8 ? 'act' : least < 48 ? 'wait' : 'ok',
    text: `This box holds out for ${hours(least)} at this rate`,
  }
}
