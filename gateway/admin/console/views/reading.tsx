/**
 * A reading's way: one test reading goes where devices' readings go, and each stage says when it
 * had it.
 */
import { signal, useSignalEffect } from '@preact/signals'
import type { TestReading } from '../../../ports/trials.ts'
import { get, post } from '../live/api.ts'
import { mayAct, snapshot } from '../live/store.ts'
import { Action, newDeed, Said, useDoing } from '../parts/action.tsx'
import { ReadingFields, readingBody } from '../parts/field.tsx'
import { Sign } from '../parts/state.tsx'
import { isThere, STAGE_WORDS } from '../words/stages.ts'
import { duration, exactTime } from '../words/times.ts'

/** Kept as long as the page: a reading may be on its way while one looks at its sink. */
const topic = signal('')
const payload = signal('')
const way = signal<TestReading | null>(null)
const deed = newDeed()

export function Reading() {
  const doing = useDoing(deed)
  // Each snapshot is an occasion to ask for what was not finished.
  useSignalEffect(() => {
    const open = way.peek()
    if (snapshot.value === null || open === null || isThere(open)) return undefined
    const stop = new AbortController()
    get<TestReading>(`api/test-reading/${open.id}`, stop.signal).then(
      (next) => {
        if (!stop.signal.aborted) way.value = next
      },
      // The next snapshot asks again.
      () => undefined,
    )
    return () => stop.abort()
  })
  return (
    <>
      <p class="lead">
        Sends one reading the way that devices’ readings go, and shows when each stage had it.
      </p>
      {mayAct() ? (
        <>
          <ReadingFields topic={topic} payload={payload} />
          <Action
            doing={doing}
            isMain
            action={async () => {
              way.value = await post<TestReading>(
                'api/test-reading',
                readingBody(topic.value, payload.value),
              )
              return null
            }}
          >
            Send a test reading
          </Action>
        </>
      ) : (
        <p>A viewer cannot send one.</p>
      )}
      <Said doing={doing} />
      {way.value === null ? null : <Way way={way.value} />}
    </>
  )
}

function Way({ way }: { readonly way: TestReading }) {
  const startMs = way.stages[0]?.atMs ?? null
  return (
    <section aria-labelledby="way">
      <h2 id="way">
        {isThere(way) ? 'It arrived' : 'On its way'}: <bdi>{way.topic}</bdi>
      </h2>
      <ol class="way" role="list">
        {way.stages.map(({ stage, atMs, detail }) => (
          <li key={stage} class={atMs === null ? 'open' : 'done'}>
            <Sign tone={atMs === null ? 'wait' : 'ok'} />
            <div>
              <strong>{STAGE_WORDS[stage].name}</strong>
              <p class="quiet">{detail ?? STAGE_WORDS[stage].means}</p>
            </div>
            <span class="number">
              {atMs === null ? 'not yet' : exactTime(atMs)}
              {atMs === null || startMs === null ? null : (
                <span class="quiet">
                  {atMs === startMs ? 'start' : `+ ${duration(atMs - startMs)}`}
                </span>
              )}
            </span>
          </li>
        ))}
      </ol>
      <p class="quiet">
        Reading <bdi>{way.id}</bdi>
      </p>
    </section>
  )
}
