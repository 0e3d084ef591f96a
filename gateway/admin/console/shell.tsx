/**
 * What is around each view: the gateway's name and state, the way to the other views, who is logged
 * in, and whether what one sees is fresh.
 */
import { useSignal } from '@preact/signals'
import { useEffect, useErrorBoundary, useRef } from 'preact/hooks'
import { logOut } from './live/session.ts'
import { loginWays, lostSinceMs, lostWhy, nowMs, rates, session, snapshot } from './live/store.ts'
import { Said, useDoing } from './parts/action.tsx'
import { Sign, State } from './parts/state.tsx'
import { PATHS, path, type ViewPath } from './routes.ts'
import { Configuration } from './views/configuration.tsx'
import { DeadLetters } from './views/dead-letters.tsx'
import { Devices } from './views/devices.tsx'
import { Login } from './views/login.tsx'
import { Overview } from './views/overview.tsx'
import { Reading } from './views/reading.tsx'
import { Sinks } from './views/sinks.tsx'
import { Spool } from './views/spool.tsx'
import { headline } from './words/headline.ts'
import { exactTime, since } from './words/times.ts'

const TITLES: Readonly<Record<ViewPath, string>> = {
  overview: 'Overview',
  devices: 'Devices',
  reading: 'A reading’s way',
  sinks: 'Sinks',
  'dead-letters': 'Dead letters',
  spool: 'Spool',
  configuration: 'Configuration',
}

const VIEWS: Readonly<Record<ViewPath, () => preact.JSX.Element | null>> = {
  overview: Overview,
  devices: Devices,
  reading: Reading,
  sinks: Sinks,
  'dead-letters': DeadLetters,
  spool: Spool,
  configuration: Configuration,
}

export function Shell() {
  if (loginWays.value !== null) return <Login ways={loginWays.value} />
  return (
    <>
      <a class="skip" href="#view">
        Skip to the view
      </a>
      <Header />
      <Lost />
      <View />
    </>
  )
}

function Header() {
  const isOpen = useSignal(false)
  const menu = useRef<HTMLButtonElement>(null)
  const gateway = snapshot.value?.status.gateway
  useEffect(() => {
    isOpen.value = false
  }, [path.value])
  return (
    <header
      onKeyDown={({ key }) => {
        if (key !== 'Escape' || !isOpen.value) return
        isOpen.value = false
        menu.current?.focus()
      }}
    >
      <p class="brand">
        <span class="quiet">Sluice</span> {gateway ?? ''}
      </p>
      <button
        ref={menu}
        type="button"
        class="menu"
        aria-expanded={isOpen.value}
        aria-controls="views"
        onClick={() => {
          isOpen.value = !isOpen.value
        }}
      >
        {TITLES[path.value]} <span aria-hidden="true">▾</span>
      </button>
      <div id="views" class={isOpen.value ? 'open' : ''}>
        <nav aria-label="Views">
          <ul>
            {PATHS.map((each) => (
              <li key={each}>
                <a href={`#/${each}`} aria-current={path.value === each ? 'page' : undefined}>
                  {TITLES[each]}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <Who />
      </div>
    </header>
  )
}

/** Who looks, and what he may. */
function Who() {
  const doing = useDoing()
  const who = session.value
  const version = snapshot.value?.status.version
  return (
    <div class="who quiet">
      {who === null ? null : (
        <p>
          {who.user ?? (who.via === 'token' ? 'With the token' : 'On this machine')}, {who.role}
        </p>
      )}
      {version === undefined ? null : <p>Version {version}</p>}
      {who?.via === 'login' || who?.via === 'token' ? (
        <button type="button" disabled={doing.isBusy} onClick={() => doing.run(leave)}>
          Log out
        </button>
      ) : null}
      <Said doing={doing} />
    </div>
  )
}

async function leave(): Promise<null> {
  await logOut()
  return null
}

/** Says that nothing comes any more, once, and counts on quietly. */
function Lost() {
  const sinceMs = lostSinceMs.value
  const last = snapshot.value
  return (
    <div class="lost" role="alert">
      {sinceMs === null ? null : (
        <p>
          <Sign tone="act" /> <strong>No connection to the gateway.</strong>{' '}
          {last === null ? '' : `What you see is from ${exactTime(last.atMs).slice(0, 8)}. `}
          {lostWhy.value ?? 'It is tried again by itself.'}{' '}
          <span class="quiet" aria-live="off">
            {since(sinceMs, nowMs.value)}
          </span>
        </p>
      )}
    </div>
  )
}

function View() {
  const main = useRef<HTMLElement>(null)
  const isFirst = useRef(true)
  const Body = VIEWS[path.value]
  useEffect(() => {
    document.title = `${TITLES[path.value]} · Sluice`
    if (!isFirst.current) main.current?.focus()
    isFirst.current = false
  }, [path.value])
  return (
    <main
      id="view"
      ref={main}
      tabIndex={-1}
      class={lostSinceMs.value === null ? '' : 'stale'}
      aria-labelledby="title"
    >
      <h1 id="title">{TITLES[path.value]}</h1>
      {snapshot.value === null ? <Waiting /> : <Guarded key={path.value} body={Body} />}
      <Announcer />
    </main>
  )
}

/** A view that fails says so, and the others go on. */
function Guarded({ body: Body }: { readonly body: () => preact.JSX.Element | null }) {
  const [error] = useErrorBoundary()
  if (error === undefined) return <Body />
  return (
    <p>
      <State tone="act">This view cannot be shown ({String(error)}). Reload the page.</State>
    </p>
  )
}

function Waiting() {
  return (
    <p class="quiet">
      {lostSinceMs.value === null ? 'Asking the gateway …' : 'Nothing to show yet.'}
    </p>
  )
}

/** The first sentence again, for those who do not see it change; numbers are left out. */
function Announcer() {
  const last = snapshot.value
  const title = last === null ? '' : headline(last.status, rates.value, last.atMs).title
  return (
    <p class="unseen" role="status">
      {title}
    </p>
  )
}
