import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { AdminServer } from '../../gateway/admin/server.ts'
import { adminUrl } from '../../gateway/cli/find-gateway.ts'
import { runCli } from '../../gateway/cli/program.ts'
import type { DevicePage, DeviceQuery, DeviceRow } from '../../gateway/ports/devices.ts'
import {
  type ConfigReport,
  type DeadLetter,
  type OfflineOperator,
  OperatorError,
  type ReloadOptions,
  type ReloadOutcome,
  type RunningOperator,
  type VerifyReport,
  type WrittenLevel,
} from '../../gateway/ports/operator.ts'
import type { DeliveryState, Status } from '../../gateway/ports/status.ts'
import type { Trials } from '../../gateway/ports/trials.ts'
import { FakeContext } from './fake-context.ts'

const ID = 'edge-01:k3f9x2m7q4w8z:telemetry'

const REPORT: ConfigReport = {
  path: '/etc/sluice/sluice.yaml',
  effective: {},
  loadedAtMs: 1_795_000_000_000,
  file: { readable: true, problems: [] },
  plan: { changes: [{ key: 'log.level', from: 'info', to: 'debug', effect: 'live' }], refused: [] },
  probation: null,
  wentBack: null,
}

/** What the server was asked to do, and letters that it really removes. */
class FakeOperator implements RunningOperator {
  readonly asked: unknown[] = []
  /** Why it refuses a reload. */
  problems: readonly string[] = []
  warnings: readonly string[] = []
  sinkState: DeliveryState = 'held'
  letters: DeadLetter[] = Array.from({ length: 1_205 }, (_, n) => ({
    id: `${ID}:${n + 1}`,
    stream: 'telemetry',
    origin: 'refused',
    status: 422,
    reason: 'no \u001B[31msuch device',
    deadLetteredAtMs: 1_795_000_000_000 + n,
    bytes: 200,
    truncated: n === 4,
    record: `{"seq":${n + 1}}`,
  }))

  async status(): Promise<Status> {
    return STATUS
  }

  async retrySink(name: string): Promise<DeliveryState> {
    this.asked.push({ retry: name })
    if (name !== 'cloud') throw new OperatorError('ADMIN_NOT_FOUND', `no sink is named ${name}`)
    return this.sinkState
  }

  async devices({ limit, after, silent }: DeviceQuery): Promise<DevicePage> {
    const from = after === null ? 0 : Number(after)
    const found = DEVICES.filter(({ silentSinceMs }) => !silent || silentSinceMs !== null)
    const devices = found.slice(from, from + limit)
    const end = from + devices.length
    return { devices, total: found.length, next: end < found.length ? String(end) : null }
  }

  async forgetDevice(id: string): Promise<void> {
    this.asked.push({ forget: id })
  }

  async leave(): Promise<void> {
    this.asked.push('leave')
  }

  async config(): Promise<ConfigReport> {
    return REPORT
  }

  async reload(options: ReloadOptions): Promise<ReloadOutcome> {
    this.asked.push({ reload: options })
    const { problems, warnings } = this
    return { applied: !options.dryRun, plan: REPORT.plan, problems, warnings }
  }

  async setLogLevel(level: WrittenLevel): Promise<void> {
    this.asked.push({ logLevel: level })
  }

  async *backup(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('backup')
  }

  async verify(): Promise<VerifyReport> {
    return { blocks: 12, missing: 0, damage: [] }
  }

  async newSpoolId(): Promise<string> {
    return 'freshspoolid1'
  }

  readonly streams: RunningOperator['streams'] = {
    drainTo: async (stream, sink) => {
      this.asked.push({ drain: stream, sink })
      if (sink !== 'cloud') throw new OperatorError('ADMIN_BAD_REQUEST', `there is no sink ${sink}`)
    },
    park: async (stream, seq) => {
      this.asked.push({ park: stream, seq })
      if (seq !== 7) throw new OperatorError('SLUICE_NOT_NEXT', `that is 7, not ${seq}`)
    },
    records: async (_, after) => {
      return after === null
        ? { records: ['{"seq":1}', '{"seq":2}'], unreadable: 0, next: '0:2' }
        : { records: ['{"seq":4}'], unreadable: 1, next: null }
    },
  }

  readonly deadLetters: RunningOperator['deadLetters'] = {
    list: async ({ stream, after, limit }) => {
      const from = after === null ? 0 : Number(after.slice('refused:'.length))
      const page = stream === 'telemetry' ? this.letters.slice(from, from + limit) : []
      return {
        deadLetters: page,
        next: from + limit < this.letters.length ? `refused:${from + limit}` : null,
      }
    },
    requeue: async ({ stream, ids }) => {
      this.asked.push({ requeue: stream, ids: ids === 'all' ? ids : ids.length })
      const skipped = this.letters
        .filter(({ id, truncated }) => truncated && ids !== 'all' && ids.includes(id))
        .map(({ id }) => ({ id, why: 'only its first KiB was kept' }))
      return {
        changed: (ids === 'all' ? this.letters.length : ids.length) - skipped.length,
        skipped,
      }
    },
    purge: async ({ stream, ids }) => {
      this.asked.push({ purge: stream, ids })
      return { changed: ids === 'all' ? this.letters.length : ids.length, skipped: [] }
    },
  }
}

let folder: string
let context: FakeContext
let operator: FakeOperator
let server: AdminServer | null

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-operator-'))
  context = new FakeContext(folder)
  operator = new FakeOperator()
  server = null
})
afterEach(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** A real admin server over fake actions; commands find it through their configuration. */
async function serve(token: string | null = null): Promise<void> {
  const healthy = { ok: true, reasons: [] }
  const views = {
    metrics: async () => ({ contentType: 'text/plain', text: '' }),
    recentLog: () => '',
    followWarnings: () => () => undefined,
    live: () => healthy,
    ready: () => healthy,
  }
  server = await AdminServer.start({
    config: {
      host: '127.0.0.1',
      port: 0,
      token: token === null ? null : { value: token },
      usersFile: null,
      watchConfig: false,
    },
    socketPath: null,
    views,
    operator,
    trials: {} as Trials,
    emit: () => undefined,
  })
  context.env['SLUICE__ADMIN__PORT'] = new URL(server.url).port
  if (token !== null) context.env['SLUICE__ADMIN__TOKEN'] = token
}

async function run(...args: string[]): Promise<number> {
  context.out = ''
  context.err = ''
  return runCli(args, context)
}

describe('a running gateway', () => {
  test('leave asks once, waits, and says what is left when the time is over', async () => {
    await serve()
    const stream = { ...STATUS.streams[0]!, backlogRecords: 1_234 }
    const standing = (changes: Partial<Status>, connections: number): Status => ({
      ...STATUS,
      ...changes,
      broker: { ...STATUS.broker!, connections },
    })
    const statuses = [
      standing({ leaving: false }, 0),
      standing({ leaving: true, streams: [stream] }, 2),
      standing({ leaving: true, streams: [{ ...stream, backlogRecords: 0 }] }, 0),
    ]
    // The command's look for the gateway is the first.
    operator.status = async () => (statuses.length > 1 ? statuses.shift()! : statuses[0]!)
    expect(await run('leave')).toBe(0)
    expect(operator.asked).toEqual(['leave'])
    expect(context.out).toContain('every record is delivered')

    operator.status = async () => standing({ leaving: true, streams: [stream] }, 2)
    expect(await run('leave', '--timeout', '0s')).toBe(1)
    expect(context.out).toContain('after 0s 2 devices connected, 1,234 records not delivered')
    expect(context.out).toContain('1,234 records of stream telemetry for sink cloud')
    operator.status = async () => ({ ...STATUS, leaving: true })
    expect(await run('status')).toBe(0)
    expect(context.out).toContain('it LEAVES')

    // Nobody can tell when an orphaned stream will be empty.
    operator.status = async () =>
      standing({ leaving: true, streams: [{ ...stream, sink: null, orphaned: true }] }, 0)
    expect(await run('leave', '--timeout', '0s')).toBe(0)
    expect(await run('leave', '--timeout', 'soon')).toBe(2)
  })

  test('spool verify asks it to check its blocks', async () => {
    await serve()
    expect(await run('spool', 'verify')).toBe(0)
    expect(context.out).toBe('12 blocks checked: all there\n')
  })

  test('sluice status prints it for a person, and as the JSON that it gave', async () => {
    await serve()
    expect(await run('status')).toBe(0)
    expect(context.out).toContain(
      'gateway edge-01 (sluice 0.1.0): up 1 h 2 min, NOT accepting messages',
    )
    expect(await run('status', '--json')).toBe(0)
    expect(JSON.parse(context.out)).toEqual(STATUS)
  })

  test('the text says what somebody should do something about, and nothing in it drives the terminal', async () => {
    await serve()
    await run('status')
    for (const part of [
      'spool k3f9x2m7q4w8z: read-only (disk is nearly full)',
      '! damage: 000012.ldb was cut short; kept in /data/damaged',
      '! sink cloud is held since 2026-11-23T03:00:00.000Z: 401 \uFFFD[31munauthorized; next try 2026-11-23T03:06:00.000Z (sluice sinks retry cloud)',
      '! stream telemetry: 3 messages waiting until the spool, which is read-only, takes messages again',
      '! stream telemetry: 1 device silent for longer than its silentAfter, 1 h (sluice devices --silent)',
      '! stream telemetry: 2 dead letters to look at; refused by the sink: 400 B of 64.0 MiB (sluice dead-letters list --stream telemetry)',
      '! stream telemetry dropped 7 expired',
      '! stream old is orphaned: no configuration names it; waiting: 5 records (sluice streams drain old --sink NAME)',
    ])
      expect(context.out).toContain(part)
    expect(context.out).not.toContain('\u001B')
  })

  test('the token of the configuration opens it; without one the command says where it belongs', async () => {
    await serve('right')
    expect(await run('status')).toBe(0)
    delete context.env['SLUICE__ADMIN__TOKEN']
    expect(await run('status')).toBe(1)
    expect(context.err).toContain('admin.token; name it with --config')
    writeFileSync(join(folder, 'token'), 'right\n')
    context.env['SLUICE__ADMIN__TOKEN__FILE'] = join(folder, 'token')
    expect(await run('status')).toBe(0)
    context.env['SLUICE__ADMIN__TOKEN__FILE'] = join(folder, 'missing')
    expect(await run('status')).toBe(1)
    expect(context.err).toMatch(/admin.token: .*missing cannot be read \(ENOENT\)/)
  })

  test('reload says what each key does, and what keeps all of it from being applied', async () => {
    await serve()
    expect(await run('reload', '--probation', '5s')).toBe(0)
    expect(operator.asked).toEqual([{ reload: { dryRun: false, probationMs: 5_000 } }])
    expect(context.out).toContain('  log.level: info -> debug (at once)')
    expect(context.out).toContain('it goes back by itself')
    operator.warnings = ['sinks.a: no stream uses it']
    expect(await run('reload', '--dry-run', '--json')).toBe(0)
    expect(context.err).toBe('warning: sinks.a: no stream uses it\n')
    operator.problems = ['sinks.cloud.url: got nothing']
    expect(await run('reload')).toBe(1)
    expect(context.out).toContain('refused, nothing changed:\n  sinks.cloud.url: got nothing')
    expect(await run('reload', '--probation', 'soon')).toBe(2)
  })

  test('log-level asks for it, check --against running for what differs', async () => {
    await serve()
    expect(await run('log-level', 'debug')).toBe(0)
    expect(operator.asked).toEqual([{ logLevel: 'debug' }])
    expect(await run('log-level', 'loud')).toBe(2)
    expect(await run('check', '--against', 'running')).toBe(2)
    expect(context.err).toContain('the gateway that runs has /etc/sluice/sluice.yaml')
  })

  test('sinks retry asks for it, and a wrong name is a failure', async () => {
    await serve()
    expect(await run('sinks', 'retry', 'cloud')).toBe(0)
    expect(operator.asked).toEqual([{ retry: 'cloud' }])
    expect(context.out).toContain('sink cloud was held and is being tried')
    operator.sinkState = 'ok'
    expect(await run('sinks', 'retry', 'cloud')).toBe(0)
    expect(context.out).toContain('nothing of sink cloud was held or waited for a retry: it is ok')
    expect(await run('sinks', 'retry', 'clout')).toBe(1)
    expect(context.err).toContain('no sink is named clout')
  })

  test('a word too many is refused with the form that is right', async () => {
    expect(await run('dead-letters', 'list', 'telemetry')).toBe(2)
    expect(context.err).toContain('usage: sluice dead-letters list [--stream <name>] [--limit <n>]')
    expect(await run('streams', 'drain', 'old', 'cloud')).toBe(2)
    expect(context.err).toContain('usage: sluice streams drain <name> --sink <sink> [--config')
    expect(await run('devices', '--limit', '0')).toBe(2)
    expect(context.err).toContain('usage: sluice devices ')
    expect(await run('spool', 'pek')).toBe(2)
    expect(context.err).toContain('(sluice spool --help lists the commands)')
    expect(await run('stats')).toBe(2)
    expect(context.err).toContain('(sluice --help lists the commands)')
  })

  test('dead letters are listed over all pages, bounded by --limit, harmless for terminals', async () => {
    await serve()
    expect(await run('dead-letters', 'list', '--limit', '1100')).toBe(0)
    expect(context.out.trimEnd().split('\n')).toHaveLength(1 + 1_100)
    expect(context.out).toContain('no \uFFFD[31msuch device')
    expect(await run('dead-letters', 'list', '--json', '-s', 'telemetry', '-n', '5000')).toBe(0)
    expect(
      context.out
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).toEqual(operator.letters)
    expect(await run('dead-letters', 'list', '--stream', 'old')).toBe(0)
    expect(context.out).toBe('there are no dead letters\n')
    expect(await run('dead-letters', 'list', '--limit', '0')).toBe(2)
  })

  test('one dead letter is shown with its record, however far back it is', async () => {
    await serve()
    expect(await run('dead-letters', 'show', `${ID}:1203`)).toBe(0)
    expect(context.out).toContain('refused by the sink, status 422')
    expect(context.out).toContain('{"seq":1203}')
    expect(await run('dead-letters', 'show', `${ID}:9999`)).toBe(1)
    expect(await run('dead-letters', 'show', 'nonsense')).toBe(2)
  })

  test('requeue takes ids of any stream, in portions that the server takes, and tells what it skipped', async () => {
    await serve()
    const ids = operator.letters.map(({ id }) => id)
    expect(await run('dead-letters', 'requeue', ...ids)).toBe(1)
    expect(operator.asked).toEqual([
      { requeue: 'telemetry', ids: 1_000 },
      { requeue: 'telemetry', ids: 205 },
    ])
    expect(context.out).toBe('requeued 1,204 of telemetry\n')
    expect(context.err).toContain(`not requeued: ${ID}:5: only its first KiB was kept`)
    expect(await run('dead-letters', 'requeue', '--all', '--stream', 'telemetry')).toBe(0)
    expect(operator.asked.at(-1)).toEqual({ requeue: 'telemetry', ids: 'all' })
  })

  test('purge wants --yes, a selection, and then does it', async () => {
    await serve()
    expect(await run('dead-letters', 'purge', '--all', '-s', 'telemetry')).toBe(2)
    expect(context.err).toContain('add --yes')
    expect(await run('dead-letters', 'purge', '--yes')).toBe(2)
    expect(await run('dead-letters', 'purge', '--yes', '--all')).toBe(2)
    expect(operator.asked).toEqual([])
    expect(await run('dead-letters', 'purge', '--yes', `${ID}:1`)).toBe(0)
    expect(operator.asked).toEqual([{ purge: 'telemetry', ids: [`${ID}:1`] }])
  })

  test('spool new-id and streams ask it, too', async () => {
    await serve()
    expect(await run('spool', 'new-id')).toBe(0)
    expect(context.out).toContain('new spool id freshspoolid1')
    expect(await run('streams', 'list')).toBe(0)
    expect(
      context.out
        .split('\n')
        .slice(0, 3)
        .map((line) => line.split(' ')[0]),
    ).toEqual(['STREAM', 'telemetry', 'old'])
    expect(await run('streams', 'orphans')).toBe(0)
    expect(context.out).not.toContain('telemetry')
    expect(context.out).toContain('none (orphaned)')
  })

  test('streams park sets a record aside by its number', async () => {
    await serve()
    expect(await run('streams', 'park', 'telemetry', '7')).toBe(0)
    expect(context.out).toContain('record 7 of stream telemetry is parked')
    expect(await run('streams', 'park', 'telemetry', '8')).toBe(1)
    expect(context.err).toContain(': that is 7, not 8 [SLUICE_NOT_NEXT]')
    expect(operator.asked).toEqual([
      { park: 'telemetry', seq: 7 },
      { park: 'telemetry', seq: 8 },
    ])
    expect(await run('streams', 'park', 'telemetry', 'seven')).toBe(2)
  })

  test('streams drain gives an orphan to a sink; streams export goes through all pages and tells what is damaged', async () => {
    await serve()
    expect(await run('streams', 'drain', 'old', '--sink', 'cloud')).toBe(0)
    expect(context.out).toContain('stream old is being drained, to sink cloud')
    expect(operator.asked).toEqual([{ drain: 'old', sink: 'cloud' }])
    expect(await run('streams', 'drain', 'old', '--sink', 'nowhere')).toBe(1)
    expect(context.err).toContain('there is no sink nowhere')
    expect(await run('streams', 'drain', 'old')).toBe(2)
    expect(await run('streams', 'export', 'old')).toBe(1)
    expect(context.out).toBe('{"seq":1}\n{"seq":2}\n{"seq":4}\n')
    expect(context.err).toContain('exported 3 records of stream old')
    expect(context.err).toContain('1 more are damaged')
    expect(await run('streams', 'export', 'none')).toBe(1)
  })

  test('streams export - is standard output, and one that fails leaves no torn file in the way of the next', async () => {
    await serve()
    expect(await run('streams', 'export', 'old', '--out', '-')).toBe(1)
    expect(context.out).toBe('{"seq":1}\n{"seq":2}\n{"seq":4}\n')
    expect(existsSync(join(folder, '-'))).toBe(false)
    const real = operator.streams.records.bind(operator.streams)
    let pages = 0
    vi.spyOn(operator.streams, 'records').mockImplementation(async (...args) => {
      if (++pages === 2) throw new Error('the disk went away')
      return real(...args)
    })
    expect(await run('streams', 'export', 'old', '--out', 'copy')).toBe(1)
    expect(pages).toBe(2)
    expect(existsSync(join(folder, 'copy'))).toBe(false)
    expect(await run('streams', 'export', 'old', '--out', 'copy')).toBe(1)
    expect(readFileSync(join(folder, 'copy'), 'utf8')).toBe('{"seq":1}\n{"seq":2}\n{"seq":4}\n')
    expect(await run('streams', 'export', 'old', '--out', 'copy')).toBe(1)
    expect(context.err).toContain('it exists already')
  })

  test('--url reaches a gateway that no configuration here describes', async () => {
    await serve()
    context.env['SLUICE__ADMIN__PORT'] = '1'
    expect(await run('status', '--url', server?.url ?? '')).toBe(0)
    expect(await run('status', '--url', 'nonsense')).toBe(2)
  })
})

describe('sluice devices', () => {
  beforeEach(() => serve())

  test('shows who was seen when, without letting ids paint the terminal', async () => {
    expect(await run('devices', '--limit', '8')).toBe(0)
    const [header = '', first = '', second = '', third = ''] = context.out.split('\n')
    expect(header).toMatch(/^DEVICE +NOW +LAST SEEN +A MINUTE +MESSAGES +LAST TOPIC +REFUSED$/)
    expect(first).toMatch(/^plc-.*0 +connected +3 d 12 h ago +60 +1,200 +hall\/0 +-$/)
    expect(second).toMatch(/ - +-$/)
    expect(third).toMatch(/2 d 12 h ago: forbidden-topic \(may not\)$/)
    expect(context.out).toContain('SILENT for 1 d 12 h')
    expect(context.out).not.toContain('\u001B')
    expect(context.err).toContain('8 of 1,205; --limit shows more')
  })

  test('more than a page holds is asked for page by page, as a line of JSON each', async () => {
    expect(await run('devices', '-n', '1203', '--json')).toBe(0)
    const lines = context.out.trimEnd().split('\n')
    expect(lines).toHaveLength(1_203)
    expect(JSON.parse(lines[1_202] ?? '')).toMatchObject({ lastTopic: 'hall/1202' })
  })

  test('--silent shows those, and says if there are none', async () => {
    expect(await run('devices', '--silent', '--json')).toBe(0)
    expect(context.out.trimEnd().split('\n')).toHaveLength(1)
    expect(context.err).toBe(
      'silence is not judged while intake is closed: nobody can be heard on telemetry\n',
    )
  })

  test('forget takes one out of it, whatever its id holds', async () => {
    expect(await run('devices', 'forget', 'hall/7 #\u001B')).toBe(0)
    expect(operator.asked).toEqual([{ forget: 'hall/7 #\u001B' }])
    expect(context.out).toContain('hall/7 #\uFFFD is forgotten')
    expect(await run('devices', 'forget')).toBe(2)
  })
})

describe('a stopped gateway', () => {
  function offline(over: Partial<OfflineOperator> = {}): { closed: number } {
    const seen = { closed: 0 }
    mkdirSync(join(folder, 'data'))
    context.env['SLUICE__ADMIN__PORT'] = '0'
    context.offline = async (config) => {
      expect(config.gateway.dataDir).toBe(join(folder, 'data'))
      return {
        status: async () => ({
          ...STATUS,
          uptimeSeconds: null,
          accepting: false,
          sinks: [],
          broker: null,
        }),
        devices: (query) => operator.devices(query),
        deadLetters: operator.deadLetters,
        streams: operator.streams,
        backup: () => operator.backup(),
        newSpoolId: async () => 'offlineid',
        verify: async () => ({ blocks: 12, missing: 0, damage: [] }),
        leftAside: async () => [],
        restoreLeftAside: async () => 0,
        close: async () => void seen.closed++,
        ...over,
      }
    }
    return seen
  }

  test('lists what was left aside, and puts it back', async () => {
    const streams = [{ name: 'telemetry', records: 1200 }]
    const seen = offline({
      leftAside: async () => [{ name: 'spool.damaged-1', streams, unreadable: ['000005.ldb'] }],
      restoreLeftAside: async (name) => (name === 'spool.damaged-1' ? 1200 : 0),
    })
    expect(await run('spool', 'restore-aside')).toBe(0)
    expect(context.out).toContain(
      'spool.damaged-1: 1,200 pending in telemetry; 1 of its files cannot be read',
    )
    expect(await run('spool', 'restore-aside', 'spool.damaged-1')).toBe(0)
    expect(context.out).toContain('put back from spool.damaged-1: 1,200 records, ')
    expect(seen.closed).toBe(2)
  })

  test('is read from its folder, which is given back', async () => {
    const seen = offline()
    expect(await run('status')).toBe(0)
    expect(context.out).toContain('gateway edge-01 (sluice 0.1.0): stopped')
    expect(context.out).not.toContain('sink cloud')
    expect(await run('status', '--json')).toBe(0)
    expect(JSON.parse(context.out)).toMatchObject({
      uptimeSeconds: null,
      accepting: false,
      sinks: [],
      broker: null,
    })
    expect(await run('dead-letters', 'list', '-n', '2')).toBe(0)
    expect(await run('spool', 'new-id')).toBe(0)
    expect(context.out).toContain('offlineid')
    expect(seen.closed).toBe(4)
  })

  test('is tried when nothing listens at the admin address', async () => {
    offline()
    await serve()
    await server?.stop()
    server = null
    expect(await run('status')).toBe(0)
    expect(context.out).toContain('stopped')
  })

  test('spool verify fails when blocks are missing, and says what was damaged', async () => {
    offline()
    expect(await run('spool', 'verify')).toBe(0)
    expect(context.out).toBe('12 blocks checked: all there\n')
    rmSync(join(folder, 'data'), { recursive: true })
    const seen = offline({
      verify: async () => ({ blocks: 12, missing: 2, damage: ['a.ldb is short'] }),
    })
    expect(await run('spool', 'verify')).toBe(1)
    expect(context.out).toBe('damage: a.ldb is short\n12 blocks checked: 2 missing or damaged\n')
    expect(seen.closed).toBe(1)
  })

  test('gives its folder back after a failure, too', async () => {
    const seen = offline({ status: () => Promise.reject(new Error('unreadable')) })
    expect(await run('status')).toBe(1)
    expect(context.err).toContain('sluice: unreadable')
    expect(seen.closed).toBe(1)
  })

  test('a folder that is not there is not created, and both places that were tried are named', async () => {
    context.env['SLUICE__ADMIN__PORT'] = '1'
    expect(await run('status')).toBe(1)
    expect(context.err).toContain(
      'nothing listens on http://127.0.0.1:1, and there is no data folder',
    )
  })

  test('a folder that is owned by a process says so', async () => {
    offline()
    context.offline = () => Promise.reject(new Error('owned by process 7'))
    expect(await run('spool', 'verify')).toBe(1)
    expect(context.err).toMatch(/data cannot be opened: owned by process 7/)
  })

  test('leave wants a running one', async () => {
    context.env['SLUICE__ADMIN__PORT'] = '1'
    expect(await run('leave')).toBe(1)
    expect(context.err).toContain('only a running gateway can leave')
  })

  test('sinks retry wants a running one', async () => {
    context.env['SLUICE__ADMIN__PORT'] = '1'
    expect(await run('sinks', 'retry', 'cloud')).toBe(1)
    expect(context.err).toContain('a gateway that is started probes its sinks by itself')
  })
})

test.each([
  ['127.0.0.1', 9464, 'http://127.0.0.1:9464'],
  ['0.0.0.0', 9464, 'http://127.0.0.1:9464'],
  ['::', 1, 'http://[::1]:1'],
  ['fd00::1', 1, 'http://[fd00::1]:1'],
  ['box', 0, null],
])('an admin server on %s port %d is asked at %s', (host, port, url) => {
  expect(adminUrl({ host, port, token: null, usersFile: null })).toBe(url)
})

const DEVICES: readonly DeviceRow[] = Array.from({ length: 1_205 }, (_, n) => ({
  id: `plc-\u001B[31m${n}`,
  connected: n !== 7,
  firstSeenAtMs: 1_795_000_000_000,
  lastSeenAtMs: Date.now() - 3.5 * 86_400_000,
  messagesPerMinute: 59.6,
  messages: 1_200,
  lastTopic: n === 1 ? null : `hall/${n}`,
  lastRefusal:
    n === 2
      ? { reason: 'forbidden-topic', detail: 'may not', atMs: Date.now() - 2.5 * 86_400_000 }
      : null,
  silentSinceMs: n === 7 ? Date.now() - 1.5 * 86_400_000 : null,
}))

const STATUS: Status = {
  statusVersion: 1,
  version: '0.1.0',
  gateway: 'edge-01',
  uptimeSeconds: 3_725,
  at: '2026-11-23T03:05:00.000Z',
  accepting: false,
  leaving: false,
  clockSet: true,
  spool: {
    id: 'k3f9x2m7q4w8z',
    state: 'read-only',
    since: '2026-11-23T03:00:00.000Z',
    why: 'disk is nearly full',
    bytes: 1024 ** 3,
    freeBytes: 10 * 1024 ** 2,
    minFreeBytes: 256 * 1024 ** 2,
    commits: 10,
    commitFailures: 0,
    lastCommitAt: null,
    verified: false,
    noticesRestore: true,
    damage: ['000012.ldb was cut short; kept in /data/damaged'],
    writtenBytesPerDay: null,
    hoursUntilFull: null,
  },
  streams: ['telemetry', 'old'].map((name) => ({
    name,
    sink: name === 'old' ? null : 'cloud',
    priority: 0,
    orphaned: name === 'old',
    spoolId: 'k3f9x2m7q4w8z',
    counters: {
      received: 100,
      requeued: 0,
      delivered: 86,
      deadLettered: 2,
      dropped: name === 'old' ? {} : { expired: 7, corrupt: 0 },
      pending: 5,
    },
    deadLetters: {
      kept: name === 'old' ? 0 : 2,
      keptBytes: 400,
      bytesBy: { ingest: 0, refused: name === 'old' ? 0 : 400 },
      maxBytes: name === 'old' ? 0 : 64 * 1024 ** 2,
      whenFull: name === 'old' ? null : ('hold' as const),
      requeued: 0,
      removed: {},
    },
    backlogRecords: 5,
    backlogBytes: 1_000,
    storedBytes: 512 * 1024 ** 2,
    hoursUntilFull: null,
    maxBytes: 1024 ** 3,
    oldestAgeSeconds: 61,
    headSpoolId: 'k3f9x2m7q4w8z',
    headSeq: 95,
    nextSeq: 101,
    parked: 0,
    waitingMessages: name === 'old' ? 0 : 3,
    illFormedTexts: 0,
    delivery: { state: 'ok', since: null, why: null, nextTryAt: null },
  })),
  sinks: [
    {
      name: 'cloud',
      url: 'https://example.org/in',
      promise: { delivery: 'at least once', by: 'with ids', ack: 'durable' },
      state: 'held',
      since: '2026-11-23T03:00:00.000Z',
      why: '401 \u001B[31munauthorized',
      lastSuccessAt: null,
      nextTryAt: '2026-11-23T03:06:00.000Z',
      streams: ['telemetry'],
      inFlight: 0,
      requests: {},
      sentBytes: 0,
      clockSkewSeconds: null,
      learnedBatchBytes: null,
    },
  ],
  broker: null,
  devices: {
    count: 1_205,
    connected: 1_204,
    silent: 1,
    evicted: 3,
    silence: [{ stream: 'telemetry', silentAfterSeconds: 3_600, silent: 1, judged: false }],
  },
  configuration: null,
}
