/** What is in effect, what the file says otherwise, apply; and the log level. */
import { useComputed, useSignal, useSignalEffect } from '@preact/signals'
import type {
  ConfigReport,
  ReloadChange,
  ReloadOutcome,
  ReloadPlan,
} from '../../../ports/operator.ts'
import { counted, plain, plainLine } from '../../../shared/text/words.ts'
import { errorText, get, post, RELOAD_MS } from '../live/api.ts'
import { isConnected, mayAct, nowMs, snapshot } from '../live/store.ts'
import { Action, Said, useDoing } from '../parts/action.tsx'
import { Confirm } from '../parts/confirm.tsx'
import { Facts } from '../parts/facts.tsx'
import { Choice } from '../parts/field.tsx'
import { State } from '../parts/state.tsx'
import { type Column, Table } from '../parts/table.tsx'
import { When } from '../parts/when.tsx'
import { configText } from '../words/config-text.ts'
import { EFFECT_WORDS, reloadText, valueText } from '../words/reload.ts'
import { ago, secondsTime } from '../words/times.ts'

export function Configuration() {
  const view = useSignal<ConfigReport | null>(null)
  const failure = useSignal<string | null>(null)
  const turn = useSignal(0)
  // What a reload by whomever came to, a probation that ended: then what is shown is old.
  const standing = useComputed(() => JSON.stringify(snapshot.value?.status.configuration))
  useSignalEffect(() => {
    void turn.value
    void standing.value
    if (!isConnected.value) return undefined
    const stop = new AbortController()
    get<ConfigReport>('api/config', stop.signal).then(
      (answer) => {
        view.value = answer
        failure.value = null
      },
      (error: unknown) => {
        if (!stop.signal.aborted) failure.value = errorText(error)
      },
    )
    return () => stop.abort()
  })
  return (
    <>
      {failure.value === null ? null : <State tone="act">{failure.value}</State>}
      {view.value === null ? null : (
        <>
          <File view={view.value} onReload={() => turn.value++} />
          <section aria-labelledby="effective">
            <h2 id="effective">In effect</h2>
            <pre tabIndex={0}>{plain(configText(view.value.effective))}</pre>
          </section>
        </>
      )}
      {view.value === null ? null : <LogLevel configured={levelIn(view.value.effective)} />}
    </>
  )
}

interface FileProps {
  readonly view: ConfigReport
  /** Looks again. */
  readonly onReload: () => void
}

function File({ view, onReload }: FileProps) {
  const { path, loadedAtMs, file, plan } = view
  const differs = plan.changes.length + plan.refused.length > 0
  return (
    <section aria-labelledby="file">
      <h2 id="file">The file</h2>
      <Facts
        of={[
          ['File', path === null ? 'none: defaults and environment' : <bdi>{path}</bdi>],
          ['In effect since', <When key="at" atMs={loadedAtMs} />],
        ]}
      />
      <Probations view={view} />
      {file.problems.length === 0 ? null : (
        <ul class="attention">
          {file.problems.map((problem) => (
            <li key={problem} class="act">
              {plainLine(problem)}
            </li>
          ))}
        </ul>
      )}
      {!file.readable ? (
        <State tone="act">The file cannot be used as it is; what runs stays as it is.</State>
      ) : differs ? (
        <>
          <State tone="wait">The file differs from what is in effect.</State>
          <Plan plan={plan} />
        </>
      ) : (
        <State tone="ok">The file says what is in effect.</State>
      )}
      <Apply plan={differs ? plan : null} onReload={onReload} />
    </section>
  )
}

/** Is the former configuration still at hand, and did it come back? */
function Probations({ view: { probation, wentBack } }: { readonly view: ConfigReport }) {
  return (
    <>
      {probation === null ? null : (
        <p>
          <State tone="wait">
            On probation, which ends {ago(probation.untilMs, nowMs.value)}: if a listener fails or a
            sink is held, the former configuration comes back by itself.
          </State>
        </p>
      )}
      {wentBack === null ? null : (
        <p>
          <State tone="act">
            The former configuration came back at {secondsTime(wentBack.atMs)} (
            {ago(wentBack.atMs, nowMs.value)}): {plainLine(wentBack.why)}
          </State>
        </p>
      )}
    </>
  )
}

const CHANGE_COLUMNS: readonly Column<ReloadChange>[] = [
  { head: 'Key', cell: ({ key }) => <code>{key}</code> },
  { head: 'In effect', cell: ({ from }) => <bdi>{valueText(from)}</bdi> },
  { head: 'In the file', cell: ({ to }) => <bdi>{valueText(to)}</bdi> },
  { head: 'Applied', cell: ({ effect }) => EFFECT_WORDS[effect] },
]

function Plan({ plan }: { readonly plan: ReloadPlan }) {
  return (
    <>
      <Table
        caption="What differs"
        columns={CHANGE_COLUMNS}
        rows={plan.changes}
        keyOf={({ key }) => key}
        empty="none"
      />
      {plan.refused.length === 0 ? null : (
        <ul class="attention">
          {plan.refused.map(({ key, why }) => (
            <li key={key} class="act">
              <span>
                <code>{key}</code>: {plainLine(why)}
              </span>
            </li>
          ))}
        </ul>
      )}
    </>
  )
}

const PROBATIONS = [
  ['0s', 'Keep it, whatever happens'],
  ['30s', 'Go back if a sink or listener fails within 30 s'],
  ['2m', 'Go back if a sink or listener fails within 2 min'],
] as const

interface ApplyProps {
  /** null: there is nothing to apply. */
  readonly plan: ReloadPlan | null
  readonly onReload: () => void
}

function Apply({ plan, onReload }: ApplyProps) {
  const doing = useDoing()
  const probation = useSignal('30s')
  const isAsking = useSignal(false)
  if (!mayAct()) return null
  const isPossible = plan !== null && plan.refused.length === 0
  return (
    <>
      {isPossible ? (
        <Choice label="If it goes wrong" value={probation} options={PROBATIONS} />
      ) : null}
      <div class="buttons">
        <button type="button" onClick={onReload}>
          Look again
        </button>
        {isPossible ? (
          <Action
            doing={doing}
            isMain
            action={async () => {
              isAsking.value = true
              return null
            }}
          >
            Apply …
          </Action>
        ) : null}
      </div>
      <Said doing={doing} />
      {isAsking.value && plan !== null ? (
        <Confirm
          questions={[
            {
              title: `Apply ${counted(plan.changes.length, 'change')}?`,
              text: 'Devices stay connected and nothing is lost. A file that is refused changes nothing.',
              yes: 'Apply',
            },
          ]}
          onYes={() =>
            doing.run(async () => {
              const said = reloadText(await applyNow(probation.value))
              onReload()
              return said
            }, 'Batches in flight of sinks that are replaced are finished first …')
          }
          onClose={() => {
            isAsking.value = false
          }}
        />
      ) : null}
    </>
  )
}

async function applyNow(probation: string): Promise<ReloadOutcome> {
  return await post<ReloadOutcome>('api/reload', { dryRun: false, probation }, RELOAD_MS)
}

const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'].map((level) => [level, level] as const)

/** What the configuration in effect says; one that was set since is not told. */
function levelIn(effective: unknown): string {
  const { log } = effective as { log?: { level?: string } }
  return log?.level ?? 'info'
}

function LogLevel({ configured }: { readonly configured: string }) {
  const level = useSignal(configured)
  const doing = useDoing()
  if (!mayAct()) return null
  return (
    <section aria-labelledby="log">
      <h2 id="log">Log</h2>
      <div class="fields">
        <Choice
          label="Level until a reload changes it, or a restart"
          value={level}
          options={LEVELS}
        />
        <Action
          doing={doing}
          action={async () => {
            await post('api/log-level', { level: level.value })
            return `The log is written from level ${level.value} on.`
          }}
        >
          Set
        </Action>
      </div>
      <Said doing={doing} />
    </section>
  )
}
