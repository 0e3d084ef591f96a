/**
 * One message through one sink, beside everything: what it would become, and what the receiver says
 * to it. Neither opens the spool, so it works with or without a running gateway; what is sent has a
 * spool id of its own, which begins with `test`.
 */
import { hostname } from 'node:os'
import { meantName } from '../config/fields.ts'
import type { Config, SinkConfig } from '../configuration.ts'
import { type SinkAnswer, TRIAL_MARK } from '../ports/sink.ts'
import type { TrialMessage, TrialOutcome } from '../ports/trials.ts'
import { nearest } from '../shared/text/nearest.ts'
import { sinkTypeOf } from '../sink/registry.ts'
import { mintSpoolId } from '../spool/opening/identity.ts'
import { type LoneMessage, loneBatch } from '../spool/operations/lone-batch.ts'

/** A name that the configuration does not have; the message says which there are. */
export class UnknownNameError extends Error {
  readonly code = 'SINK_UNKNOWN'
}

class NoTablesError extends Error {
  readonly code = 'SINK_HAS_NO_TABLES'
}

const SPOOL_ID_CHARS = 16

/** What the message would become. @throws UnknownNameError */
export async function previewSink(config: Config, trial: TrialMessage): Promise<string> {
  const { sink, lone } = prepare(config, trial)
  const type = sinkTypeOf(sink)
  const made = type.create({ name: trial.sink, config: sink, emit: () => undefined, trial: true })
  const { fingerprint } = made.encoder
  await made.close()
  return await type.preview(sink, loneBatch(lone, { fingerprint }))
}

/** Sends the message and waits for what comes of it, at most twice `timeout`. */
export async function trySink(config: Config, trial: TrialMessage): Promise<TrialOutcome> {
  const { sink, lone } = prepare(config, trial)
  const type = sinkTypeOf(sink)
  const made = type.create({ name: trial.sink, config: sink, emit: () => undefined, trial: true })
  const batch = loneBatch(lone, made.encoder)
  const signal = AbortSignal.timeout(2 * sink.timeout)
  made.start()
  try {
    const answer = await made.send(batch, signal)
    const id = `${lone.gateway}:${lone.spoolId}:${lone.stream}:1`
    const taken = isTaken(answer)
    return { id, target: type.url(sink), answer, taken, meaning: meaningOf(answer) }
  } finally {
    await made.close()
  }
}

/** What has to be made at the receiver before the first batch. @throws NoTablesError */
export function sinkDdl(config: Config, name: string): string {
  const sink = sinkOf(config, name)
  const ddl = sinkTypeOf(sink).ddl?.(sink)
  if (ddl !== undefined) return ddl
  throw new NoTablesError(`sinks.${name}: a sink of type ${sink.type} needs no tables`)
}

function sinkOf({ sinks }: Config, name: string): SinkConfig {
  const sink = Object.hasOwn(sinks, name) ? sinks[name] : undefined
  if (sink !== undefined) return sink
  throw unknown('sink', name, Object.keys(sinks))
}

function unknown(what: string, name: string, known: readonly string[]): UnknownNameError {
  const near = nearest(name, known)
  const hint = near === null ? `there is ${known.join(', ')}` : `do you mean ${near}?`
  return new UnknownNameError(`there is no ${what} ${name}: ${hint}`)
}

function prepare(
  config: Config,
  trial: TrialMessage,
): { readonly sink: SinkConfig; readonly lone: LoneMessage } {
  const sink = sinkOf(config, trial.sink)
  const [name, stream] = streamFor(config, trial)
  const topic = trial.topic ?? exampleOf(stream.topics[0] ?? '#')
  const level = /^topic:(\d+)$/.exec(stream.device)?.[1]
  const byTopic = level === undefined ? undefined : topic.split('/')[Number(level)]
  const lone: LoneMessage = {
    gateway: config.gateway.id ?? (meantName(hostname()) || 'gateway'),
    spoolId: `${TRIAL_MARK}${mintSpoolId()}`.slice(0, SPOOL_ID_CHARS),
    stream: name,
    device: trial.device ?? (byTopic || 'example'),
    topic,
    message: trial.message,
    receivedAtMs: Date.now(),
    payload: stream.payload,
  }
  return { sink, lone }
}

/** The one that is named, else the first that goes to the sink, else the first. */
function streamFor({ streams }: Config, { sink, stream }: TrialMessage) {
  const all = Object.entries(streams)
  const found =
    stream === null
      ? (all.find(([, one]) => one.sink === sink) ?? all[0])
      : all.find(([name]) => name === stream)
  if (found === undefined)
    throw unknown(
      'stream',
      stream ?? '',
      all.map(([name]) => name),
    )
  return found
}

/** A topic that a filter takes. */
export function exampleOf(filter: string): string {
  return filter
    .split('/')
    .map((level) => (level === '+' || level === '#' ? 'example' : level))
    .join('/')
}

/** Of a batch of one record. */
function isTaken(answer: SinkAnswer): boolean {
  if (answer.kind !== 'verdicts') return false
  const [listed] = answer.listed
  if (listed !== undefined) return listed.verdict === 'acked'
  return answer.ackedThrough === null || answer.ackedThrough >= 1
}

function meaningOf(answer: SinkAnswer): string {
  if (answer.kind === 'verdicts') {
    if (isTaken(answer)) return 'taken: a gateway would count it as delivered'
    const [listed] = answer.listed
    return listed?.verdict === 'refused'
      ? `refused: ${listed.reason ?? 'no reason was given'}; ${SET_ASIDE}`
      : 'not taken yet: a gateway would send it again'
  }
  const [begin, usual] = NOT_TAKEN[answer.kind]
  const follows = answer.kind === 'hold' && answer.watched === true ? KEEPS_ALL : usual
  const silent = answer.kind === 'retry' && !answer.answered ? ', since nobody answered' : ''
  return `${begin}: ${answer.detail}; ${follows}${silent}`
}

const KEEPS_ALL = 'a gateway would keep everything, and raise an alarm'

const SET_ASIDE =
  'a gateway would set it aside, and keep it as a dead letter once the sink took a later one'

const NOT_TAKEN = {
  retry: ['not taken', 'a gateway would keep it and try again'],
  hold: ['not taken', `${KEEPS_ALL}; it would ask again every minute`],
  'too-large': [
    'too large for this sink',
    'a gateway would refuse a single record of this size, and keep it as a dead letter',
  ],
  refused: ['refused', SET_ASIDE],
  malformed: ['not taken', 'a gateway would try again, and hold the sink after five in a row'],
} as const
