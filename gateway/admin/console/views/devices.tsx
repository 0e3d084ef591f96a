/**
 * Who publishes, who fell silent, who was refused and why. The gateway pages, sorts and searches:
 * the table may hold many thousands.
 */
import { type Signal, useComputed, useSignal, useSignalEffect } from '@preact/signals'
import type { DevicePage, DeviceRefusal, DeviceRow } from '../../../ports/devices.ts'
import { count, counted, plainLine } from '../../../shared/text/words.ts'
import { errorText, get, remove } from '../live/api.ts'
import { mayAct, nowMs, snapshot } from '../live/store.ts'
import { Said, useDoing } from '../parts/action.tsx'
import { Confirm } from '../parts/confirm.tsx'
import { Choice, Field } from '../parts/field.tsx'
import { Pages } from '../parts/pages.tsx'
import { State } from '../parts/state.tsx'
import { type Column, Table } from '../parts/table.tsx'
import { When } from '../parts/when.tsx'
import { rateText } from '../words/rates.ts'
import { since } from '../words/times.ts'

const PAGE = 100
/** Between asking and asking again, as snapshots come. */
const AGAIN_MS = 5_000
const TYPING_MS = 250

const SORTS = [
  ['lastSeen', 'Last seen'],
  ['name', 'Name'],
  ['rate', 'Rate'],
] as const

interface Wish {
  readonly search: Signal<string>
  readonly sort: Signal<string>
  readonly silentOnly: Signal<boolean>
  /** Cursors of the pages before, the first of which has none. */
  readonly trail: Signal<readonly string[]>
}

export function Devices() {
  const wish: Wish = {
    search: useSignal(''),
    sort: useSignal('lastSeen'),
    silentOnly: useSignal(false),
    trail: useSignal<readonly string[]>([]),
  }
  const { table, failure, lookAgain } = useTable(wish)
  const leaving = useSignal<string | null>(null)
  const doing = useDoing()
  const id = leaving.value
  return (
    <>
      <Counts />
      <Search wish={wish} />
      <Said doing={doing} />
      {id === null ? null : (
        <Confirm
          questions={forgetQuestions(plainLine(id))}
          onYes={() =>
            doing.run(async () => {
              await remove(`api/devices/${encodeURIComponent(id)}`)
              lookAgain()
              return `Device ${plainLine(id)} is forgotten.`
            })
          }
          onClose={() => {
            leaving.value = null
          }}
        />
      )}
      {failure === null ? null : (
        <p role="status">
          <State tone="act">{failure}</State>
        </p>
      )}
      {table === null ? null : (
        <>
          <Table
            caption="Devices"
            columns={mayAct() ? [...COLUMNS, forgetting(leaving)] : COLUMNS}
            rows={table.devices}
            keyOf={({ id }) => id}
            empty={
              wish.search.value === '' && !wish.silentOnly.value
                ? emptyText(snapshot.value?.status.broker?.listeners ?? [])
                : 'none matches'
            }
          />
          <Pages of="devices" trail={wish.trail} next={table.next}>
            {placeText(table, wish.trail.value.length)}
          </Pages>
        </>
      )}
    </>
  )
}

/** Asks at once for what is wished, then again as snapshots come, so that it stays true. */
function useTable({ search, sort, silentOnly, trail }: Wish) {
  const table = useSignal<DevicePage | null>(null)
  const failure = useSignal<string | null>(null)
  const round = useComputed(() => Math.floor((snapshot.value?.atMs ?? 0) / AGAIN_MS))
  const turn = useSignal(0)
  useSignalEffect(() => {
    void round.value
    void turn.value
    const query = new URLSearchParams({ sort: sort.value, limit: String(PAGE) })
    if (search.value !== '') query.set('search', search.value)
    if (silentOnly.value) query.set('silent', 'true')
    const after = trail.value.at(-1)
    if (after !== undefined) query.set('after', after)
    const stop = new AbortController()
    const timer = setTimeout(
      () => {
        get<DevicePage>(`api/devices?${query}`, stop.signal).then(
          (answer) => {
            table.value = answer
            failure.value = null
          },
          (error: unknown) => {
            if (!stop.signal.aborted) failure.value = errorText(error)
          },
        )
      },
      table.peek() === null ? 0 : TYPING_MS,
    )
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  })
  return { table: table.value, failure: failure.value, lookAgain: () => turn.value++ }
}

function emptyText(listeners: readonly string[]): string {
  const where = listeners.length === 0 ? '' : `, at ${listeners.join(' or ')}`
  return `No devices yet: each is shown here once it has connected${where}.`
}

/** `101 to 200 of 5,000`. */
function placeText({ devices, total }: DevicePage, pagesBefore: number): string {
  const first = pagesBefore * PAGE + 1
  return `${count(first)} to ${count(first + devices.length - 1)} of ${count(total)}`
}

function Counts() {
  const counts = snapshot.value?.devices
  if (counts == null || counts.count === 0) return null
  return (
    <p class="lead">
      {counted(counts.count, 'device')} known,{' '}
      {counts.silent === 0 ? (
        <State tone="ok">none silent</State>
      ) : (
        <State tone="act">{count(counts.silent)} silent</State>
      )}
    </p>
  )
}

function Search({ wish }: { readonly wish: Wish }) {
  const { search, sort, silentOnly, trail } = wish
  return (
    <form
      class="fields"
      role="search"
      onSubmit={(event) => event.preventDefault()}
      onInput={() => {
        trail.value = []
      }}
    >
      <Field label="Search client ids" type="search" value={search} />
      <Choice label="Sort by" value={sort} options={SORTS} />
      <label class="check">
        <input
          type="checkbox"
          checked={silentOnly.value}
          onInput={(event) => {
            silentOnly.value = event.currentTarget.checked
          }}
        />
        Silent ones only
      </label>
    </form>
  )
}

const COLUMNS: readonly Column<DeviceRow>[] = [
  { head: 'Device', cell: ({ id }) => <bdi>{plainLine(id)}</bdi> },
  { head: 'State', cell: (device) => <DeviceState device={device} /> },
  { head: 'Last seen', cell: ({ lastSeenAtMs }) => <When atMs={lastSeenAtMs} /> },
  {
    head: 'Readings a minute',
    isNumber: true,
    cell: ({ messagesPerMinute }) => rateText(messagesPerMinute),
  },
  {
    head: 'Last topic',
    cell: ({ lastTopic }) => (lastTopic === null ? null : <bdi>{plainLine(lastTopic)}</bdi>),
  },
  {
    head: 'Last refusal',
    cell: ({ lastRefusal }) =>
      lastRefusal === null ? null : (
        <>
          <bdi>{refusalText(lastRefusal)}</bdi>, <When atMs={lastRefusal.atMs} />
        </>
      ),
  },
]

/** For operators. One that is connected is not gone, and the gateway would refuse. */
function forgetting(leaving: Signal<string | null>): Column<DeviceRow> {
  return {
    head: 'Gone?',
    cell: ({ id, connected }) =>
      connected ? (
        <span class="quiet">no</span>
      ) : (
        <button
          type="button"
          aria-label={`Forget ${plainLine(id)} …`}
          onClick={() => {
            leaving.value = id
          }}
        >
          Forget …
        </button>
      ),
  }
}

function forgetQuestions(id: string) {
  return [
    {
      title: `Forget device ${id}?`,
      text: 'It leaves this table, and no stream waits for it any more. Its readings stay as they are. If it connects again, it is a new device here.',
      yes: 'Forget',
      isGrave: true,
    },
    {
      title: 'Is it gone for good?',
      text: `When device ${id} was first and last seen, and what was refused to it, is deleted here for good.`,
      yes: 'Forget it for good',
      isGrave: true,
    },
  ]
}

function refusalText({ reason, detail }: DeviceRefusal): string {
  return detail === '' ? reason : `${reason}: ${plainLine(detail)}`
}

function DeviceState({ device }: { readonly device: DeviceRow }) {
  if (device.silentSinceMs !== null)
    return <State tone="act">silent {since(device.silentSinceMs, nowMs.value)}</State>
  return device.connected ? (
    <State tone="ok">connected</State>
  ) : (
    <State tone="idle">not connected</State>
  )
}
