/** What each receiver says, in words; preview of what is sent, a test of it, and retry. */
import { type Signal, signal, useSignal } from '@preact/signals'
import type { SinkStatus, StreamStatus } from '../../../ports/status.ts'
import { bytes, count, counted, plain, plainLine, reasonsText } from '../../../shared/text/words.ts'
import { post, TRIAL_MS } from '../live/api.ts'
import { mayAct, nowMs, snapshot } from '../live/store.ts'
import { Action, type Deed, newDeed, Said, useDoing } from '../parts/action.tsx'
import { Confirm } from '../parts/confirm.tsx'
import { Facts } from '../parts/facts.tsx'
import { ReadingFields, readingBody } from '../parts/field.tsx'
import { State } from '../parts/state.tsx'
import { When } from '../parts/when.tsx'
import { DELIVERY_MEANING, DELIVERY_TONE, deliveryText, promiseText } from '../words/states.ts'
import { msOf } from '../words/times.ts'
import { type SinkPreview, type SinkTry, tryText } from '../words/trial.ts'

export function Sinks() {
  const status = snapshot.value?.status
  if (status === undefined) return null
  if (status.sinks.length === 0) return <p class="empty">No sinks are configured.</p>
  return (
    <>
      {status.sinks.map((sink) => (
        <SinkCard
          key={sink.name}
          sink={sink}
          streams={status.streams.filter((stream) => stream.sink === sink.name)}
        />
      ))}
    </>
  )
}

interface SinkProps {
  readonly sink: SinkStatus
  readonly streams: readonly StreamStatus[]
}

function SinkCard({ sink, streams }: SinkProps) {
  const { name, state, notConnected } = sink
  return (
    <article class={`card ${DELIVERY_TONE[state]}`} aria-labelledby={`sink-${name}`}>
      <h2 id={`sink-${name}`}>{name}</h2>
      <p>
        <State tone={DELIVERY_TONE[state]}>{deliveryText(sink, nowMs.value)}</State>
      </p>
      {state === 'ok' ? null : <p>{DELIVERY_MEANING[state]}</p>}
      {notConnected === undefined ? null : (
        <p>
          <State tone="wait">
            not connected{notConnected.why === null ? '' : `: ${plainLine(notConnected.why)}`}
          </State>
        </p>
      )}
      {streams
        .filter(({ delivery }) => delivery.state !== 'ok' && delivery.why !== sink.why)
        .map((stream) => (
          <p key={stream.name}>
            <State tone={DELIVERY_TONE[stream.delivery.state]}>
              stream {stream.name} {deliveryText(stream.delivery, nowMs.value)}
            </State>
          </p>
        ))}
      <SinkFacts sink={sink} streams={streams} />
      <SinkActions sink={sink} />
    </article>
  )
}

function SinkFacts({ sink, streams }: SinkProps) {
  const backlog = streams.reduce((sum, { backlogRecords }) => sum + backlogRecords, 0)
  const waiting = streams.reduce((sum, { backlogBytes }) => sum + backlogBytes, 0)
  const parked = streams.reduce((sum, stream) => sum + stream.parked, 0)
  return (
    <Facts
      of={[
        ['Sends to', <bdi key="url">{plainLine(sink.url)}</bdi>],
        [
          'Last success',
          <When key="at" atMs={msOf(sink.lastSuccessAt)} never="not since the start" />,
        ],
        ['Streams', sink.streams.length === 0 ? null : sink.streams.join(', ')],
        ['Waiting', `${counted(backlog, 'reading')}, ${bytes(waiting)}`],
        ['Set aside (parked)', parked === 0 ? null : count(parked)],
        ['In flight', counted(sink.inFlight, 'request')],
        ['Requests since the start', reasonsText(sink.requests)],
        ['Sent since the start', bytes(sink.sentBytes)],
        ['Promise', promiseText(sink)],
        ...(sink.learnedBatchBytes === null
          ? []
          : [['Batches learned to be at most', bytes(sink.learnedBatchBytes)] as const]),
        ...(sink.clockSkewSeconds === null
          ? []
          : [['Its clock minus ours', `${sink.clockSkewSeconds} s`] as const]),
      ]}
    />
  )
}

/** What was tried of a sink, kept as long as the page: who looks elsewhere finds it again. */
interface Attempt {
  readonly topic: Signal<string>
  readonly payload: Signal<string>
  readonly isOpen: Signal<boolean>
  readonly deed: Deed
  readonly shown: Signal<Shown | null>
}

interface Shown {
  readonly what: 'Preview' | 'Test'
  readonly atMs: number
  readonly text: string
}

const attempts = new Map<string, Attempt>()

function attemptOf(sink: string): Attempt {
  const made = attempts.get(sink) ?? {
    topic: signal(''),
    payload: signal(''),
    isOpen: signal(false),
    deed: newDeed(),
    shown: signal(null),
  }
  attempts.set(sink, made)
  return made
}

/** Said as what went wrong. */
function notDone(text: string): never {
  throw new Error(text)
}

/** Retry; and what one message would become, or does become. */
function SinkActions({ sink }: { readonly sink: SinkStatus }) {
  const { topic, payload, isOpen, deed, shown } = attemptOf(sink.name)
  const isAsking = useSignal(false)
  const doing = useDoing(deed)
  if (!mayAct()) return null
  const api = `api/sinks/${encodeURIComponent(sink.name)}`
  const body = (): object => readingBody(topic.value, payload.value)
  const preview = async (): Promise<null> => {
    const { preview: text } = await post<SinkPreview>(`${api}/preview`, body())
    shown.value = { what: 'Preview', atMs: nowMs.peek(), text }
    return null
  }
  const test = async (): Promise<string> => {
    const answer = await post<SinkTry>(`${api}/test`, body(), TRIAL_MS)
    shown.value = { what: 'Test', atMs: nowMs.peek(), text: tryText(answer) }
    return answer.taken ? 'The receiver took it.' : notDone('The receiver did not take it.')
  }
  return (
    <div class="actions">
      {sink.state === 'ok' ? null : (
        <Action
          doing={doing}
          isMain
          action={async () => {
            await post(`${api}/retry`)
            return `Sink ${sink.name} is asked now.`
          }}
        >
          Retry now
        </Action>
      )}
      <details
        open={isOpen.value}
        onToggle={({ currentTarget }) => {
          isOpen.value = currentTarget.open
        }}
      >
        <summary>Try one reading</summary>
        <ReadingFields topic={topic} payload={payload} />
        <div class="buttons">
          <Action doing={doing} action={preview}>
            Preview what is sent
          </Action>
          <Action
            doing={doing}
            action={async () => {
              isAsking.value = true
              return null
            }}
          >
            Send it as a test
          </Action>
        </div>
        <Result of={shown.value} />
      </details>
      <Said doing={doing} />
      {isAsking.value ? (
        <Confirm
          questions={[sendQuestion(sink.name)]}
          onYes={() => doing.run(test, 'Sent; the receiver has not answered yet …')}
          onClose={() => {
            isAsking.value = false
          }}
        />
      ) : null}
    </div>
  )
}

function Result({ of }: { readonly of: Shown | null }) {
  if (of === null) return null
  return (
    <>
      <p>
        {of.what}, made <When atMs={of.atMs} />
      </p>
      <pre tabIndex={0}>{plain(of.text)}</pre>
    </>
  )
}

function sendQuestion(sink: string) {
  return {
    title: `Send a test reading to ${sink}?`,
    text: 'The receiver really gets it, marked as a test, beside the spool.',
    yes: 'Send it',
  }
}
