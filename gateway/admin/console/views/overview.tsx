/**
 * Is data flowing, is anything lost, how long can the box hold out? The first view, made to be read
 * within ten seconds.
 */
import type { Status, StreamStatus } from '../../../ports/status.ts'
import { bytes, count, counted, reasonsText, span } from '../../../shared/text/words.ts'
import type { ConsoleSnapshot } from '../live/answers.ts'
import { nowMs, rates, snapshot, warnings } from '../live/store.ts'
import { Chart } from '../parts/chart.tsx'
import { Tiles } from '../parts/facts.tsx'
import { Sign, State } from '../parts/state.tsx'
import { type Column, Table } from '../parts/table.tsx'
import { attentionOf } from '../words/attention.ts'
import { balanceOf } from '../words/balance.ts'
import { headline, holdOutText, lossText } from '../words/headline.ts'
import { rateText } from '../words/rates.ts'
import { DELIVERY_TONE } from '../words/states.ts'
import { clockTime } from '../words/times.ts'

export function Overview() {
  const last = snapshot.value
  if (last === null) return null
  const { status } = last
  return (
    <>
      <First status={status} />
      <NeedsAttention status={status} />
      <Tiles of={tilesOf(last)} />
      <Charts />
      <Streams status={status} />
      <Warnings />
    </>
  )
}

function First({ status }: { readonly status: Status }) {
  const { tone, title, detail } = headline(status, rates.value, nowMs.value)
  const loss = lossText(status)
  const holdOut = holdOutText(status)
  return (
    <section class={`first ${tone}`} aria-label="How it stands">
      <h2>
        <Sign tone={tone} /> {title}
      </h2>
      <p>{detail}</p>
      <p class="answers">
        <State tone={loss.tone}>{loss.text}</State>
        <State tone={holdOut.tone}>{holdOut.text}</State>
      </p>
    </section>
  )
}

function NeedsAttention({ status }: { readonly status: Status }) {
  const found = attentionOf(status, nowMs.value)
  if (found.length === 0) return null
  return (
    <section aria-labelledby="attention">
      <h2 id="attention">Needs attention</h2>
      <ul class="attention">
        {found.map(({ tone, text, view }) => (
          <li key={text} class={tone}>
            <Sign tone={tone} /> <span>{text}</span>
            {view === null ? null : <a href={`#/${view}`}>Look</a>}
          </li>
        ))}
      </ul>
    </section>
  )
}

function tilesOf({ status, devices }: ConsoleSnapshot): ReadonlyArray<[string, string, string]> {
  const { streams, broker, uptimeSeconds } = status
  const sum = (of: (stream: StreamStatus) => number): number =>
    streams.reduce((total, stream) => total + of(stream), 0)
  const oldest = Math.max(...streams.map(({ oldestAgeSeconds }) => oldestAgeSeconds ?? 0), 0)
  const backlog = sum((stream) => stream.backlogRecords)
  const silent =
    devices === null || devices.silent === 0 ? 'none silent' : `${count(devices.silent)} silent`
  return [
    ['Arriving', rateText(rates.value?.received ?? null), 'readings a second'],
    ['Delivered', rateText(rates.value?.delivered ?? null), 'readings a second'],
    ['Waiting', count(backlog), `readings, ${bytes(sum((stream) => stream.backlogBytes))}`],
    [
      'Oldest waiting',
      backlog === 0 ? 'none' : span(oldest),
      backlog === 0 ? 'all delivered' : 'since it arrived',
    ],
    ['Devices connected', count(broker?.connections ?? 0), silent],
    ['Running for', span(uptimeSeconds ?? 0), `version ${status.version}`],
  ]
}

function Charts() {
  return (
    <section class="charts" aria-label="The last minutes">
      <figure>
        <figcaption>
          <h2>Waiting, bytes</h2>
          <span class="quiet">since this page was opened, up to 15 min</span>
        </figcaption>
        <Chart lines={BACKLOG} valueText={bytes} leastTop={1_024} isBinary />
      </figure>
      <figure>
        <figcaption>
          <h2>Readings a second</h2>
          <span class="key one">arriving</span> <span class="key two">delivered</span>
        </figcaption>
        <Chart lines={RATES} valueText={rateText} leastTop={5} />
      </figure>
    </section>
  )
}

const BACKLOG = [({ backlogBytes }: { readonly backlogBytes: number }) => backlogBytes]

const perSecond =
  (of: 'received' | 'delivered') =>
  (
    sample: Readonly<Record<'atMs' | 'received' | 'delivered', number>>,
    before: Readonly<Record<'atMs' | 'received' | 'delivered', number>> | null,
  ): number | null =>
    before === null ? null : ((sample[of] - before[of]) * 1_000) / (sample.atMs - before.atMs)

const RATES = [perSecond('received'), perSecond('delivered')]

const STREAM_COLUMNS: readonly Column<StreamStatus>[] = [
  { head: 'Stream', cell: ({ name }) => name },
  {
    head: 'Delivery',
    cell: ({ orphaned, delivery }) =>
      orphaned ? (
        <State tone="act">orphaned</State>
      ) : (
        <State tone={DELIVERY_TONE[delivery.state]}>{delivery.state}</State>
      ),
  },
  { head: 'Came in', isNumber: true, cell: (stream) => count(balanceOf(stream).cameIn) },
  { head: 'Delivered', isNumber: true, cell: ({ counters }) => count(counters.delivered) },
  { head: 'Dead', isNumber: true, cell: ({ counters }) => count(counters.deadLettered) },
  {
    head: 'Kept of those',
    isNumber: true,
    cell: ({ deadLetters: { kept, keptBytes } }) =>
      kept === 0 ? '0' : `${count(kept)}, ${bytes(keptBytes)}`,
  },
  {
    head: 'Dropped',
    isNumber: true,
    cell: ({ counters }) => reasonsText(counters.dropped),
  },
  { head: 'Waiting', isNumber: true, cell: ({ counters }) => count(counters.pending) },
  {
    head: 'Balance',
    cell: (stream) => {
      const { missing } = balanceOf(stream)
      return missing === 0 ? (
        <State tone="ok">nothing missing</State>
      ) : (
        <State tone="act">{counted(missing, 'reading')} missing</State>
      )
    },
  },
]

/** I5: came in = delivered + dead + dropped + waiting, in each stream. */
function Streams({ status }: { readonly status: Status }) {
  return (
    <section aria-labelledby="balance">
      <h2 id="balance">Every reading accounted for</h2>
      <Table
        caption="Balance of each stream: came in = delivered + dead + dropped + waiting"
        columns={STREAM_COLUMNS}
        rows={status.streams}
        keyOf={({ name }) => name}
        empty="No streams are configured."
      />
    </section>
  )
}

/** What the log warned of while this page was open. */
function Warnings() {
  return (
    <section aria-labelledby="warnings">
      <h2 id="warnings">Warnings since this page was opened</h2>
      {warnings.value.length === 0 ? (
        <p class="empty">none</p>
      ) : (
        <ul class="log">
          {warnings.value.map((line, index) => (
            <li key={`${line.time}-${index}`}>
              <time>
                {line.time === undefined ? '' : clockTime(Number(new Date(line.time)), nowMs.value)}
              </time>{' '}
              {line.msg}
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}
