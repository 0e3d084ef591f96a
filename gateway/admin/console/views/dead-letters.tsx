/** What was refused for good, why, and what becomes of it: requeue, or purge (asked twice). */
import { type Signal, useSignal, useSignalEffect } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { letterRooms } from '../../../ports/findings.ts'
import type { DeadLetter, DeadLetterChange, DeadLetterPage } from '../../../ports/operator.ts'
import type { StreamStatus } from '../../../ports/status.ts'
import { bytes, count, counted, plain, plainLine } from '../../../shared/text/words.ts'
import { CHANGE_MS, errorText, get, post } from '../live/api.ts'
import { isConnected, mayAct, snapshot } from '../live/store.ts'
import { Action, Said, useDoing } from '../parts/action.tsx'
import { Confirm } from '../parts/confirm.tsx'
import { Facts } from '../parts/facts.tsx'
import { Choice } from '../parts/field.tsx'
import { Meter } from '../parts/meter.tsx'
import { Pages } from '../parts/pages.tsx'
import { State } from '../parts/state.tsx'
import { type Column, Table } from '../parts/table.tsx'
import { When } from '../parts/when.tsx'
import { changeText, payloadOf } from '../words/dead-letters.ts'

const PAGE = 50

export function DeadLetters() {
  const streams = snapshot.value?.status.streams ?? []
  const worst = streams.find(({ deadLetters }) => deadLetters.kept > 0) ?? streams[0]
  const wanted = useSignal(worst?.name ?? '')
  const stream = streams.find(({ name }) => name === wanted.value) ?? worst
  if (stream === undefined) return <p class="empty">No streams are configured.</p>
  return (
    <>
      <p class="lead">
        Refused for good by a sink or by their stream. They are kept until you requeue or purge
        them, or until their own limits are reached.
      </p>
      <Choice
        label="Stream"
        value={wanted}
        options={streams.map(({ name, deadLetters }) => [
          name,
          `${name}: ${counted(deadLetters.kept, 'dead letter')}`,
        ])}
      />
      <Rooms stream={stream} />
      <Letters key={stream.name} stream={stream} />
    </>
  )
}

interface LettersProps {
  readonly stream: StreamStatus
}

/** How full it is of what its sink refused, and of what it refused itself. */
function Rooms({ stream: { name, deadLetters } }: LettersProps) {
  const rooms = letterRooms(deadLetters)
  if (rooms.length === 0) return null
  return (
    <Facts
      of={rooms.map(({ by, used, part, whole, whenFull }) => [
        `Refused by ${by}`,
        <span key={by}>
          <Meter label={`Stream ${name}, refused by ${by}`} part={part} whole={whole} />, {used}.{' '}
          <span class="quiet">When full, {whenFull}.</span>
        </span>,
      ])}
    />
  )
}

function Letters({ stream }: LettersProps) {
  const page = useSignal<DeadLetterPage | null>(null)
  const failure = useSignal<string | null>(null)
  const trail = useSignal<readonly string[]>([])
  const chosen = useSignal<ReadonlySet<string>>(new Set())
  const kept = useSignal(stream.deadLetters.kept)
  useEffect(() => {
    kept.value = stream.deadLetters.kept
  }, [stream.deadLetters.kept])
  useSignalEffect(() => {
    void kept.value
    if (!isConnected.value) return undefined
    const query = new URLSearchParams({ stream: stream.name, limit: String(PAGE) })
    const after = trail.value.at(-1)
    if (after !== undefined) query.set('after', after)
    const stop = new AbortController()
    get<DeadLetterPage>(`api/dead-letters?${query}`, stop.signal).then(
      (answer) => {
        page.value = answer
        failure.value = null
        const ids = new Set(answer.deadLetters.map(({ id }) => id))
        chosen.value = new Set([...chosen.peek()].filter((id) => ids.has(id)))
      },
      (error: unknown) => {
        if (!stop.signal.aborted) failure.value = errorText(error)
      },
    )
    return () => stop.abort()
  })
  if (failure.value !== null) return <State tone="act">{failure.value}</State>
  if (page.value === null) return <p class="quiet">Asking the gateway …</p>
  const { deadLetters, next } = page.value
  return (
    <>
      <Changes stream={stream} chosen={chosen} />
      <Table
        caption={`Dead letters of stream ${stream.name}`}
        columns={mayAct() ? [chooser(chosen), ...COLUMNS] : COLUMNS}
        rows={deadLetters}
        keyOf={({ id }) => id}
        empty="No dead letters: nothing of this stream was refused for good, or all of it was seen to."
      />
      {next === null && trail.value.length === 0 ? null : (
        <Pages of="dead letters" trail={trail} next={next} />
      )}
    </>
  )
}

const COLUMNS: readonly Column<DeadLetter>[] = [
  {
    head: 'Refused',
    cell: ({ deadLetteredAtMs }) => <When atMs={deadLetteredAtMs} never="not kept" />,
  },
  {
    head: 'By, and why',
    cell: ({ origin, status, reason }) =>
      `${origin === 'ingest' ? 'its stream' : 'the sink'}${status === null ? '' : `, ${status}`}: ${plainLine(reason)}`,
  },
  {
    head: 'Reading',
    cell: (letter) => {
      const { device, topic, payload } = payloadOf(letter)
      return (
        <details class="payload">
          <summary>
            <bdi>{topic ?? letter.id}</bdi>
            {device === null ? null : (
              <span class="quiet">
                {' '}
                of <bdi>{device}</bdi>
              </span>
            )}
          </summary>
          <pre tabIndex={0}>{plain(payload)}</pre>
        </details>
      )
    },
  },
  { head: 'Size', isNumber: true, cell: (letter) => bytes(letter.bytes) },
]

function chooser(chosen: Signal<ReadonlySet<string>>): Column<DeadLetter> {
  return {
    head: 'Choose',
    cell: ({ id }) => (
      <input
        type="checkbox"
        aria-label={`Choose ${id}`}
        checked={chosen.value.has(id)}
        onChange={({ currentTarget }) => {
          const others = [...chosen.value].filter((each) => each !== id)
          chosen.value = new Set(currentTarget.checked ? [...others, id] : others)
        }}
      />
    ),
  }
}

interface ChangesProps extends LettersProps {
  readonly chosen: Signal<ReadonlySet<string>>
}

/** On those that are chosen, or on all of the stream if none is. */
function Changes({ stream, chosen }: ChangesProps) {
  const doing = useDoing()
  const isAsking = useSignal(false)
  const { kept } = stream.deadLetters
  if (!mayAct()) return null
  const ids = [...chosen.value]
  const whom = ids.length === 0 ? `all ${count(kept)}` : `${count(ids.length)} chosen`
  const change = async (what: 'requeue' | 'purge'): Promise<string> => {
    const body = { stream: stream.name, ...(ids.length === 0 ? { all: true } : { ids }) }
    const answer = await post<DeadLetterChange>(`api/dead-letters/${what}`, body, CHANGE_MS)
    chosen.value = new Set()
    return changeText(what === 'purge' ? 'purged' : 'requeued', answer)
  }
  return (
    <>
      {kept === 0 ? null : (
        <div class="buttons">
          <Action doing={doing} isMain action={() => change('requeue')}>
            Requeue {whom}
          </Action>
          <Action
            doing={doing}
            action={async () => {
              isAsking.value = true
              return null
            }}
          >
            Purge {whom} …
          </Action>
        </div>
      )}
      <Said doing={doing} />
      {isAsking.value ? (
        <Confirm
          questions={purgeQuestions(whom, stream.name)}
          onYes={() => doing.run(() => change('purge'))}
          onClose={() => {
            isAsking.value = false
          }}
        />
      ) : null}
    </>
  )
}

function purgeQuestions(whom: string, stream: string) {
  return [
    {
      title: `Purge ${whom} of ${stream}?`,
      text: 'They are deleted from this box, and no sink ever gets them. Requeue sends them again instead.',
      yes: 'Purge',
      isGrave: true,
    },
    {
      title: 'Nobody can bring them back. Purge?',
      text: `${whom} dead letters of stream ${stream} are deleted for good.`,
      yes: 'Delete for good',
      isGrave: true,
    },
  ]
}
