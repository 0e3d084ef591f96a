/** What is on this box's disk: room and wear, each stream's share, damage, and a check of all. */
import { signal } from '@preact/signals'
import type { VerifyReport } from '../../../ports/operator.ts'
import type { Status, StreamStatus } from '../../../ports/status.ts'
import { bytes, count, plainLine, reasonsText, span } from '../../../shared/text/words.ts'
import { post, VERIFY_MS } from '../live/api.ts'
import { nowMs, snapshot } from '../live/store.ts'
import { Action, newDeed, Said, useDoing } from '../parts/action.tsx'
import { Facts } from '../parts/facts.tsx'
import { Meter } from '../parts/meter.tsx'
import { State } from '../parts/state.tsx'
import { type Column, Table } from '../parts/table.tsx'
import { When } from '../parts/when.tsx'
import { checkText, spoolText, untilFullText } from '../words/spool.ts'
import { SPOOL_TONE } from '../words/states.ts'
import { msOf } from '../words/times.ts'

export function Spool() {
  const status = snapshot.value?.status
  if (status === undefined) return null
  return (
    <>
      <Disk status={status} />
      <section aria-labelledby="shares">
        <h2 id="shares">Streams on disk</h2>
        <Table
          caption="What each stream holds"
          columns={COLUMNS}
          rows={status.streams}
          keyOf={({ name }) => name}
          empty="No streams are configured."
        />
      </section>
      <Damage status={status} />
      <Verify />
    </>
  )
}

function Disk({ status: { spool, streams } }: { readonly status: Status }) {
  const isDelivering = streams.every(({ delivery }) => delivery.state === 'ok')
  return (
    <section aria-labelledby="disk">
      <h2 id="disk">Disk</h2>
      <p class="lead">
        <State tone={SPOOL_TONE[spool.state]}>{spoolText(spool, nowMs.value)}</State>
      </p>
      <Facts
        of={[
          ['Spool on disk', bytes(spool.bytes)],
          ['Free on its file system', bytes(spool.freeBytes)],
          ['Closed to new readings below', `${bytes(spool.minFreeBytes)} free`],
          ['Time until full', untilFullText(spool.hoursUntilFull, isDelivering)],
          [
            'Written a day (wear)',
            spool.writtenBytesPerDay === null ? 'not known yet' : bytes(spool.writtenBytesPerDay),
          ],
          [
            'Last commit',
            <When key="at" atMs={msOf(spool.lastCommitAt)} never="none since the start" />,
          ],
          [
            'Commits since the start',
            `${count(spool.commits)}, ${spool.commitFailures === 0 ? 'none' : count(spool.commitFailures)} failed`,
          ],
          ['Spool id', <code key="id">{spool.id}</code>],
        ]}
      />
    </section>
  )
}

const COLUMNS: readonly Column<StreamStatus>[] = [
  { head: 'Stream', cell: ({ name }) => name },
  { head: 'Waiting', isNumber: true, cell: ({ backlogRecords }) => count(backlogRecords) },
  {
    head: 'Oldest',
    isNumber: true,
    cell: ({ oldestAgeSeconds }) => (oldestAgeSeconds === null ? null : span(oldestAgeSeconds)),
  },
  { head: 'On disk', isNumber: true, cell: ({ storedBytes }) => bytes(storedBytes) },
  {
    head: 'Of its limit',
    cell: ({ name, storedBytes, maxBytes }) => (
      <>
        <Meter label={`Stream ${name}, share of its limit`} part={storedBytes} whole={maxBytes} />{' '}
        <span class="quiet">of {bytes(maxBytes)}</span>
      </>
    ),
  },
  {
    head: 'Full in',
    isNumber: true,
    cell: ({ hoursUntilFull, delivery }) => untilFullText(hoursUntilFull, delivery.state === 'ok'),
  },
  { head: 'Dropped', isNumber: true, cell: ({ counters }) => reasonsText(counters.dropped) },
]

function Damage({ status: { spool } }: { readonly status: Status }) {
  return (
    <section aria-labelledby="damage">
      <h2 id="damage">Damage</h2>
      {spool.damage.length === 0 ? (
        <p class="empty">none</p>
      ) : (
        <ul class="attention">
          {spool.damage.map((text) => (
            <li key={text} class="act">
              {plainLine(text)}
            </li>
          ))}
        </ul>
      )}
      {spool.noticesRestore ? null : (
        <p>
          A data folder that is restored or copied is not noticed on this file system: run{' '}
          <code>sluice spool new-id</code> after one.
        </p>
      )}
    </section>
  )
}

/** A check of a large spool outlasts a look at another view. */
const deed = newDeed()
const found = signal<VerifyReport | null>(null)

function Verify() {
  const doing = useDoing(deed)
  return (
    <section aria-labelledby="verify">
      <h2 id="verify">Verify</h2>
      <p>Reads every waiting block and checks it, beside the work, without stopping anything.</p>
      <Action
        doing={doing}
        goingOn="Every block is read, a few at a time: minutes, if much waits. It goes on if you look at another view."
        action={async () => {
          found.value = null
          const report = await post<VerifyReport>('api/spool/verify', {}, VERIFY_MS)
          found.value = report
          return checkText(report)
        }}
      >
        Verify the spool
      </Action>
      <Said doing={doing} />
      {found.value === null || found.value.damage.length === 0 ? null : (
        <ul class="attention">
          {found.value.damage.map((text) => (
            <li key={text} class="act">
              {plainLine(text)}
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}
