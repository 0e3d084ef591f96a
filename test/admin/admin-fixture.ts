/** An admin server over fake sources and an operator that notes what it is asked. */
import type { AdminConfig } from '../../gateway/admin/config.ts'
import { AdminServer } from '../../gateway/admin/server.ts'
import { Observer } from '../../gateway/observe/observer.ts'
import {
  type ConfigReport,
  type DeadLetterSelection,
  OperatorError,
  type RunningOperator,
} from '../../gateway/ports/operator.ts'
import type { TestReading, Trials } from '../../gateway/ports/trials.ts'
import { type FakeState, fakeSources } from '../observe/fake-sources.ts'

interface Call {
  readonly what: string
  readonly with: unknown
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Parsed; undefined if it is no JSON. */
  readonly body: unknown
  /** `{}` if it is none. */
  readonly error: { readonly code?: string; readonly message?: string; readonly login?: unknown }
}

export interface AdminFixture {
  readonly server: AdminServer
  readonly observer: Observer
  readonly state: FakeState
  readonly calls: readonly Call[]
  log(): string
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  delete(path: string, headers?: Record<string, string>): Promise<Answer>
  stop(): Promise<void>
}

export async function startAdmin(config: Partial<AdminConfig> = {}): Promise<AdminFixture> {
  const { sources, state } = fakeSources()
  const calls: Call[] = []
  const lines: string[] = []
  const observer = await Observer.open({
    log: { level: 'info', format: 'json' },
    destination: {
      stream: { write: (line) => void lines.push(line) },
      droppedLines: () => 0,
      flush: () => Promise.resolve(),
    },
  })
  const views = observer.views({ ...sources, admin: () => server.stats })
  const server: AdminServer = await AdminServer.start({
    config: {
      host: '127.0.0.1',
      port: 0,
      token: null,
      usersFile: null,
      watchConfig: false,
      ...config,
    },
    socketPath: null,
    views,
    operator: notingOperator(calls, () => views.status()),
    trials: notingTrials(calls),
    emit: observer.noteAdmin,
  })
  const ask = async (path: string, init: RequestInit): Promise<Answer> => {
    const answer = await fetch(`${server.url}${path}`, init)
    const text = await answer.text()
    const body = parsed(text)
    const error = (body as { error?: Answer['error'] } | null)?.error ?? {}
    return { status: answer.status, headers: answer.headers, text, body, error }
  }
  return {
    server,
    observer,
    state,
    calls,
    log: () => lines.join(''),
    get: (path, headers = {}) => ask(path, { headers }),
    delete: (path, headers = {}) => ask(path, { method: 'DELETE', headers }),
    post: (path, body = {}, headers = {}) =>
      ask(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      }),
    stop: async () => {
      await server.stop()
      await observer.stop()
    },
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const READING: TestReading = {
  id: 'edge-01:k3f9:telemetry:102',
  topic: 'plant/example',
  stages: [
    { stage: 'arrived', atMs: 1, detail: 'into stream telemetry' },
    { stage: 'committed', atMs: 2 },
    { stage: 'acknowledged', atMs: 3 },
    { stage: 'sent', atMs: null, detail: 'sink cloud is held: HTTP 401' },
    { stage: 'stored', atMs: null },
  ],
}

function notingTrials(calls: Call[]): Trials {
  return {
    preview: async (trial) => {
      calls.push({ what: 'preview', with: trial })
      return 'POST /ingest'
    },
    trySink: async (trial) => {
      calls.push({ what: 'test', with: trial })
      const answer = { kind: 'hold', scope: 'sink', code: 401, sinkDateMs: null } as const
      return {
        id: 'x',
        target: 'http://127.0.0.1:9000',
        taken: false,
        meaning: 'not taken: HTTP 401',
        answer: { ...answer, code: '401', detail: 'HTTP 401' },
      }
    },
    sendReading: async (topic, payload) => {
      calls.push({ what: 'reading', with: { topic, payload: payload?.toString() ?? null } })
      return READING
    },
    reading: (id) => (id === READING.id ? READING : null),
  }
}

const CONFIG_REPORT: ConfigReport = {
  path: '/etc/sluice/sluice.yaml',
  effective: { log: { level: 'info' } },
  loadedAtMs: 1_795_000_000_000,
  file: { readable: true, problems: [] },
  plan: { changes: [{ key: 'log.level', from: 'info', to: 'debug', effect: 'live' }], refused: [] },
  probation: null,
  wentBack: null,
}

function notingOperator(calls: Call[], status: () => unknown): RunningOperator {
  const note = (what: string, value: unknown) => void calls.push({ what, with: value })
  return {
    status: async () => status() as Awaited<ReturnType<RunningOperator['status']>>,
    retrySink: async (name) => {
      note('retry', name)
      if (name !== 'cloud') throw new OperatorError('ADMIN_NOT_FOUND', `no sink is named ${name}`)
      return 'held'
    },
    forgetDevice: async (id) => {
      note('forget', id)
      if (id !== 'press/7') throw new OperatorError('SLUICE_DEVICE_CONNECTED', 'it is connected')
    },
    leave: async () => note('leave', null),
    devices: async (query) => {
      note('devices', query)
      if (query.after === 'nonsense') throw new OperatorError('ADMIN_BAD_REQUEST', 'no next')
      return { devices: [], total: 0, next: null }
    },
    config: async () => {
      note('config', null)
      return CONFIG_REPORT
    },
    reload: async (options) => {
      note('reload', options)
      return { applied: !options.dryRun, plan: CONFIG_REPORT.plan, problems: [], warnings: [] }
    },
    setLogLevel: async (level) => note('log-level', level),
    backup: async function* () {
      yield Buffer.from('backup')
    },
    verify: async () => ({ blocks: 7, missing: 0, damage: [] }),
    newSpoolId: async () => {
      note('new-id', null)
      return 'fresh'
    },
    streams: {
      drainTo: async (stream, sink) => note('drain', { stream, sink }),
      park: async (stream, seq) => note('park', { stream, seq }),
      records: async (stream, after) => {
        note('records', { stream, after })
        return { records: ['{"seq":1}'], unreadable: 0, next: null }
      },
    },
    deadLetters: {
      list: async (query) => {
        note('list', query)
        return { deadLetters: [], next: null }
      },
      requeue: async (selection: DeadLetterSelection) => {
        note('requeue', selection)
        return { changed: 2, skipped: [] }
      },
      purge: async (selection) => {
        note('purge', selection)
        throw new Error('secret detail of the store')
      },
    },
  }
}
