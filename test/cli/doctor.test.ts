/**
 * `sluice doctor`: every finding is provoked, by a real fault where a test can make one, by facts
 * where it cannot; a healthy box has none.
 */
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  clockDiagnoses,
  readChronyc,
  readTimedatectl,
  skewDiagnoses,
} from '../../gateway/cli/doctor/clock.ts'
import { CHECKS, type Diagnosis, isFinding } from '../../gateway/cli/doctor/diagnosis.ts'
import { diskDiagnoses, syncDiagnosis } from '../../gateway/cli/doctor/disk.ts'
import { faultDiagnoses, hostDiagnoses } from '../../gateway/cli/doctor/faults.ts'
import { certificateDiagnoses } from '../../gateway/cli/doctor/files.ts'
import type { DoctorReport } from '../../gateway/cli/doctor/report.ts'
import { runningDiagnoses } from '../../gateway/cli/doctor/running.ts'
import { buildStatus } from '../../gateway/observe/status.ts'
import type { Status } from '../../gateway/ports/status.ts'
import { fakeSources } from '../observe/fake-sources.ts'
import { defaultConfig } from '../support/configs.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { builtProgram, reapProcesses, runProgram, runToEnd } from '../support/process.ts'
import { RawMqtt } from '../support/raw-mqtt.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'
import { sourcePath } from '../support/source-path.ts'

const NOW = Date.UTC(2026, 10, 28)
const GIB = 1024 ** 3
const EXT4 = 0xef53
const ROOMY = { freeBytes: 500 * GIB, usedBytes: 0, inodes: 1e6, freeInodes: 9e5, type: EXT4 }
const config = defaultConfig('/srv')

function status(changes: Partial<Status> = {}): Status {
  const devices = { count: 12, connected: 9, silent: 0, evicted: 0, silence: [] }
  const { sources } = fakeSources({ devices })
  return { ...buildStatus(sources, NOW, null), version: '1.0.0', ...changes }
}

const skewed = (clockSkewSeconds: number) =>
  status({ sinks: status().sinks.map((sink) => ({ ...sink, clockSkewSeconds })) })
const shared = (at: string, ...addresses: string[]) => {
  const { broker } = status()
  const lastSharedClientId = { clientId: 'press-7', addresses, at }
  return status({ broker: broker === null ? null : { ...broker, lastSharedClientId } })
}
const certificate = (name: string) => [
  {
    key: 'mqtt.listeners[0].tls.cert',
    path: `/etc/${name}`,
    holds: 'certificate' as const,
    mode: 0o644,
    text: readFileSync(sourcePath(`test/support/tls/${name}`), 'utf8'),
  },
]

const silence = { stream: 'telemetry', silentAfterSeconds: 3_600, silent: 2, judged: true }
const failedReload = { outcome: 'went-back', at: '2026-11-28T00:00:00Z', why: 'x' } as const
const wentBack = { since: '2026-11-27T00:00:00Z', probationUntil: null, failedReload }

type Row = readonly [
  what: string,
  diagnoses: readonly Diagnosis[],
  check: string,
  standing: 'warning' | 'problem',
  detail: string,
  fix: string,
]

const JUDGED: readonly Row[] = [
  [
    'less room than is kept free',
    diskDiagnoses(config, { ...ROOMY, freeBytes: GIB / 8 }),
    'disk-space',
    'problem',
    '128 MiB are free, less than spool.minFreeBytes (256 MiB): no message is accepted',
    'make room',
  ],
  [
    'limits that exceed the disk',
    diskDiagnoses(config, { ...ROOMY, freeBytes: GIB, usedBytes: GIB / 16 }),
    'disk-space',
    'warning',
    'streams: the sum of maxBytes (1.1 GiB',
    'lower maxBytes',
  ],
  [
    'no inodes',
    diskDiagnoses(config, { ...ROOMY, freeInodes: 12 }),
    'disk-inodes',
    'problem',
    '12 of 1,000,000 inodes are free',
    'df -i',
  ],
  [
    'a folder in memory',
    diskDiagnoses(config, { ...ROOMY, type: 0x0102_1994 }),
    'disk-kind',
    'problem',
    'in memory (tmpfs)',
    'gateway.dataDir',
  ],
  [
    'a folder on another machine',
    diskDiagnoses(config, { ...ROOMY, type: 0x6969 }),
    'disk-kind',
    'warning',
    'on another machine (NFS)',
    'gateway.dataDir',
  ],
  [
    'a slow disk',
    [syncDiagnosis([101, 150, 120, 8])],
    'disk-fsync',
    'warning',
    'fsync takes 101 ms, at most 150 ms in 4 tries: every ack waits for one',
    'faster disk',
  ],
  [
    'a disk that stalls',
    [syncDiagnosis([1, 1, 1, 1_001])],
    'disk-fsync',
    'warning',
    'fsync takes 1.0 ms, at most 1001 ms',
    'iotop',
  ],
  [
    'little memory',
    hostDiagnoses([{ because: 'memory', text: 'memory: 100 MiB are less' }], '20.19.0'),
    'memory',
    'warning',
    'memory: 100 MiB are less',
    'more memory',
  ],
  ['an old Node', hostDiagnoses([], '20.18.1'), 'version', 'problem', '20.18.1 is older', 'newer'],
  [
    'a clock that was never set',
    clockDiagnoses(Date.UTC(1970, 0, 2), null),
    'clock',
    'problem',
    'it shows 1970-01-02T00:00:00.000Z and was never set',
    'set it',
  ],
  [
    'a clock that nobody sets',
    clockDiagnoses(NOW, readTimedatectl('no\n')),
    'clock-sync',
    'warning',
    'no time server',
    'timedatectl set-ntp true',
  ],
  [
    'a clock behind that of a sink',
    skewDiagnoses(skewed(61)),
    'clock-skew',
    'warning',
    '1 min 1 s behind that of the sink',
    'which is right',
  ],
  [
    'a clock ahead of that of a sink',
    skewDiagnoses(skewed(-3_600)),
    'clock-skew',
    'warning',
    '1 h ahead of that of the sink',
    'which is right',
  ],
  [
    'a certificate that has ended',
    certificateDiagnoses(certificate('expired-client.pem'), NOW),
    'certificates',
    'problem',
    'expired on',
    'put a new one there',
  ],
  [
    'a certificate that is not valid yet',
    certificateDiagnoses(certificate('future-server.pem'), NOW),
    'certificates',
    'problem',
    'is not valid before 2090-01-01',
    'check the clock',
  ],
  [
    'a certificate that ends soon',
    certificateDiagnoses(certificate('server.pem'), Date.UTC(2099, 11, 30)),
    'certificates',
    'warning',
    'ends on 2099-12-31, in 1 days',
    'put a new one there',
  ],
  [
    'a gateway that was not restarted',
    runningDiagnoses(status({ version: '0.9.0' }), null, '1.0.0'),
    'version',
    'warning',
    'the gateway that runs is 0.9.0, this command is 1.0.0',
    'restart the gateway',
  ],
  [
    'a disk that takes no writes',
    runningDiagnoses(
      status({ spool: { ...status().spool, state: 'storage-failed', why: 'EIO', damage: [] } }),
      null,
      '1.0.0',
    ),
    'spool',
    'problem',
    'it is storage-failed: EIO',
    'dmesg',
  ],
  [
    'a damaged spool',
    runningDiagnoses(
      status({ spool: { ...status().spool, state: 'ok', damage: ['3 blocks'] } }),
      null,
      '1.0.0',
    ),
    'spool',
    'warning',
    'damage: 3 blocks',
    'check the disk',
  ],
  [
    'two clients with one id',
    runningDiagnoses(shared('2026-11-27T23:30:00Z', '10.0.0.1', '10.0.0.2'), null, '1.0.0'),
    'client-ids',
    'warning',
    'clients from 10.0.0.1 and 10.0.0.2 connect as press-7',
    'give each device its own client id',
  ],
  [
    'silent devices',
    runningDiagnoses(
      status({ devices: { ...status().devices, silence: [silence] } }),
      null,
      '1.0.0',
    ),
    'silent-devices',
    'warning',
    'stream telemetry: 2 devices silent for longer than its silentAfter, 1 h',
    'sluice devices --silent',
  ],
  [
    'a reload that went back',
    runningDiagnoses(status({ configuration: wentBack }), null, '1.0.0'),
    'configuration',
    'problem',
    'the former configuration is in force again, at 2026-11-28T00:00:00Z: x',
    'sluice reload',
  ],
  [
    'an address that this machine does not have',
    faultDiagnoses([Object.assign(new Error('x'), { code: 'LISTENER_ADDRESS_UNAVAILABLE' })]),
    'ports',
    'problem',
    'x [LISTENER_ADDRESS_UNAVAILABLE]',
    'ip address',
  ],
]

describe('judged by facts', () => {
  test.each(JUDGED)('%s', (_, diagnoses, check, standing, detail, fix) => {
    const [found, ...more] = diagnoses.filter(isFinding)
    expect(more).toEqual([])
    expect(found).toMatchObject({ check, standing })
    expect(found?.detail).toContain(detail)
    expect(found?.fix).toContain(fix)
  })

  test('the same facts in order give no finding', () => {
    const well = [
      ...diskDiagnoses(config, ROOMY),
      ...diskDiagnoses(config, { ...ROOMY, inodes: 0, freeInodes: 0 }),
      // What is stored already is part of what the limits want.
      ...diskDiagnoses(config, { ...ROOMY, freeBytes: GIB, usedBytes: GIB }),
      syncDiagnosis([1, 2, 900, 3]),
      ...hostDiagnoses([], '20.19.0'),
      ...hostDiagnoses([], '24.1.0'),
      ...clockDiagnoses(NOW, readChronyc('Leap status     : Normal\n')),
      ...clockDiagnoses(NOW, null),
      ...skewDiagnoses(skewed(-59)),
      ...certificateDiagnoses(certificate('server.pem'), NOW),
      ...runningDiagnoses(status({ spool: { ...status().spool, damage: [] } }), null, '1.0.0'),
      ...runningDiagnoses(shared('2026-11-27T22:30:00Z', '10.0.0.1'), null, '1.0.0'),
    ]
    expect(well.filter(isFinding)).toEqual([])
  })

  test('dates are not judged by a clock that was never set', () => {
    const [only, ...more] = certificateDiagnoses(certificate('server.pem'), 0)
    expect(more).toEqual([])
    expect(only).toMatchObject({ standing: 'unknown' })
  })

  test('what the services that set the clock say is read', () => {
    expect(readTimedatectl('yes\n')).toBe(true)
    expect(readTimedatectl('')).toBeNull()
    expect(readChronyc('Leap status     : Not synchronised\n')).toBe(false)
    expect(readChronyc('506 Cannot talk to daemon\n')).toBeNull()
  })
})

let folder: string
let receiver: ScriptedSink
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-doctor-'))
  receiver = await ScriptedSink.start()
})
afterEach(async () => {
  await reapProcesses()
  await receiver.close()
  rmSync(folder, { recursive: true, force: true })
})

type Sections = Readonly<Record<string, unknown>>

/** A configuration on which nothing is wrong, but for what `sections` say. */
async function write(sections: Sections, sink: Sections = {}): Promise<string> {
  mkdirSync(join(folder, 'data'), { recursive: true, mode: 0o700 })
  const file = join(folder, 'sluice.yaml')
  const own = {
    mqtt: { listeners: [{ port: 0 }] },
    admin: { port: 0 },
    spool: { minFreeBytes: '1MiB' },
    sinks: { cloud: { url: receiver.url, timeout: '2s', connectTimeout: '2s', ...sink } },
  }
  writeFileSync(file, JSON.stringify({ ...own, ...sections }), { mode: 0o600 })
  return file
}

async function examine(
  file: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly report: DoctorReport; readonly code: number | null }> {
  const { exit, stdout, stderr } = await runProgram('gateway', ['doctor', '--json', '-c', file], {
    env,
  })
  expect(stderr).toBe('')
  return { report: JSON.parse(stdout) as DoctorReport, code: exit.code }
}

/** How fast the disk of whoever runs this is, is theirs. */
const findingsOf = ({ diagnoses }: DoctorReport) =>
  diagnoses.filter((one) => isFinding(one) && one.check !== 'disk-fsync')

/** A file in the folder, and its name. */
function put(name: string, content: string | Uint8Array, mode = 0o600): string {
  writeFileSync(join(folder, name), content, { mode })
  chmodSync(join(folder, name), mode)
  return name
}

const CLOSED_PORT = 'http://127.0.0.1:9/ingest'

interface Fault {
  readonly make: () => Promise<string>
  readonly check: string
  readonly standing?: 'warning'
  readonly detail: RegExp
  readonly env?: () => Readonly<Record<string, string>>
}

const PROVOKED: Readonly<Record<string, Fault>> = {
  'a file where the data folder belongs': {
    make: () => write({ gateway: { dataDir: put('file', '') } }),
    check: 'data-folder',
    detail: /file is no folder|SLUICE_FOLDER_UNUSABLE|not a folder|cannot be used/,
  },
  'a limit that is larger than the disk': {
    make: () => write({ streams: { telemetry: { maxBytes: '900000GiB' } } }),
    check: 'disk-space',
    standing: 'warning',
    detail: /the sum of maxBytes/,
  },
  'more to be kept free than there is': {
    make: () => write({ spool: { minFreeBytes: '900000GiB' } }),
    check: 'disk-space',
    detail: /no message is accepted/,
  },
  'more unacknowledged bytes than the memory has': {
    make: () => write({ mqtt: { listeners: [{ port: 0 }], maxUnackedBytesTotal: '4096GiB' } }),
    check: 'memory',
    standing: 'warning',
    detail: /mqtt\.maxUnackedBytesTotal: \d+ will be in effect/,
  },
  'a clock that no time server sets': {
    make: () => write({}),
    env: () => {
      put('timedatectl', '#!/bin/sh\necho no\n', 0o755)
      return { PATH: `${folder}:${process.env['PATH']}` }
    },
    check: 'clock-sync',
    standing: 'warning',
    detail: /no time server sets the clock/,
  },
  'a port that is taken': {
    make: async () => {
      const server = createServer().listen(0, '127.0.0.1').unref()
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      return write({ mqtt: { listeners: [{ port }] } })
    },
    check: 'ports',
    detail: /LISTENER_ADDRESS_IN_USE/,
  },
  'a password line that is wrong': {
    make: () =>
      write({ mqtt: { listeners: [{ port: 0 }], auth: { passwordFile: put('p', 'x') } } }),
    check: 'files',
    detail: /AUTH_FILE_INVALID/,
  },
  'a token that is not there': {
    make: () => write({ admin: { port: 0, token: { file: 'no-token' } } }),
    check: 'files',
    detail: /no-token cannot be read \(ENOENT\)/,
  },
  'a secret that everybody may read': {
    make: () => write({ admin: { port: 0, token: { file: put('token', 'x', 0o644) } } }),
    check: 'permissions',
    standing: 'warning',
    detail: /token holds secrets, and everybody on this machine may read it/,
  },
  'a configuration with a secret that everybody may read': {
    make: async () => {
      const file = await write({ admin: { port: 0, token: 'spelled-out' } })
      chmodSync(file, 0o644)
      return file
    },
    check: 'permissions',
    standing: 'warning',
    detail: /sluice\.yaml holds secrets/,
  },
  'a data folder that everybody may write to': {
    make: async () => {
      const file = await write({})
      chmodSync(join(folder, 'data'), 0o777)
      return file
    },
    check: 'permissions',
    detail: /data: everybody on this machine may write to it/,
  },
  'a certificate of a listener that has ended': {
    make: () => {
      const tls = { cert: 'expired-client.pem', key: 'expired-client.key' }
      for (const name of Object.values(tls)) {
        copyFileSync(sourcePath(`test/support/tls/${name}`), join(folder, name))
        chmodSync(join(folder, name), 0o600)
      }
      return write({ mqtt: { listeners: [{ port: 0, tls }] } })
    },
    check: 'certificates',
    detail: /expired-client\.pem: .* expired on/,
  },
  'a sink whose name has no address': {
    make: () => write({}, { url: 'http://no-such-host.invalid/ingest' }),
    check: 'sink',
    detail: /, name: .*no-such-host\.invalid/,
  },
  'a sink where nothing listens': {
    make: () => write({}, { url: CLOSED_PORT }),
    check: 'sink',
    detail: /, connection: .*ECONNREFUSED/,
  },
  'a proxy where nothing listens': {
    make: () => write({}, { proxy: { kind: 'http', url: 'http://127.0.0.1:9' } }),
    check: 'sink',
    detail: /127\.0\.0\.1:9/,
  },
  'a sink with a certificate that nobody vouches for': {
    make: async () => {
      const pem = (name: string) => readFileSync(sourcePath(`test/support/tls-sink/${name}`))
      const tls = { cert: pem('server.pem'), key: pem('server.key') }
      const { url } = await scripted({ tls })
      return write({}, { url })
    },
    check: 'sink',
    detail: /, tls: /,
  },
  'a sink that does not know us': {
    make: async () => {
      const { url } = await scripted({ script: () => ({ status: 401 }) })
      return write({}, { url })
    },
    check: 'sink',
    detail: /, answer: answered 401/,
  },
  'a secret of a sink that is not there': {
    make: () => write({}, { bearerToken: { file: 'no-secret' }, allowInsecure: true }),
    check: 'sink',
    detail: /, settings: .*no-secret/,
  },
}

const receivers: ScriptedSink[] = []
afterEach(async () => {
  for (const one of receivers.splice(0)) await one.close()
})
async function scripted(options: Parameters<typeof ScriptedSink.start>[0]): Promise<ScriptedSink> {
  const sink = await ScriptedSink.start(options)
  receivers.push(sink)
  return sink
}

describe('provoked', () => {
  test.each(Object.entries(PROVOKED))('%s', async (_, { make, check, standing, detail, env }) => {
    const { report, code } = await examine(await make(), env?.())
    const found = findingsOf(report).filter((one) => detail.test(one.detail))
    expect(found, JSON.stringify(findingsOf(report), null, 1)).not.toEqual([])
    for (const one of found) {
      expect(one).toMatchObject({ check, standing: standing ?? 'problem' })
      expect(one.fix ?? '').not.toBe('')
    }
    expect(code).toBe(report.problems === 0 ? 0 : 1)
    expect(code).toBe(standing === 'warning' ? 0 : 1)
  })

  test('too few descriptors', async () => {
    const file = await write({})
    const command = `ulimit -n 1024 && exec ${process.execPath} ${builtProgram('gateway')} doctor -q -c ${file}`
    const { exit, stdout } = await runToEnd('/bin/bash', ['-c', command])
    expect(stdout).toMatch(/^warning {2}descriptors: mqtt\.maxConnections: \d+ will be in effect/m)
    expect(stdout).toMatch(/^ {9}fix: raise LimitNOFILE=/m)
    expect(exit.code).toBe(0)
  })

  test('two clients with one id, at a gateway that runs; and a file that is not in force', async () => {
    const gateway = await GatewayProcess.start({ folder, sinkUrl: receiver.url })
    chmodSync(gateway.configPath, 0o600)
    for (let i = 0; i < 5; i += 1) await RawMqtt.connect(gateway.mqttPort, { clientId: 'both' })
    const written = readFileSync(gateway.configPath, 'utf8')
    writeFileSync(gateway.configPath, written.replace(`"port": ${gateway.mqttPort}`, '"port": 9'))
    const { report, code } = await examine(gateway.configPath)
    expect(report.running).toBe(true)
    expect(findingsOf(report)).toMatchObject([
      {
        check: 'configuration',
        standing: 'warning',
        detail: expect.stringContaining('is not in force, which is judged here: mqtt.listeners[0]'),
      },
      { check: 'client-ids', detail: expect.stringContaining('127.0.0.1 connect as both') },
    ])
    expect(code).toBe(0)
  })

  test('what is in force is judged, not the file; a sink whose secret is not known is not asked', async () => {
    const gateway = await GatewayProcess.start({
      folder,
      sinkUrl: receiver.url,
      sink: { bearerToken: 'in-force', allowInsecure: true },
      env: { SLUICE__SPOOL__MIN_FREE_BYTES: '900000GiB' },
    })
    chmodSync(gateway.configPath, 0o600)
    const first = await examine(gateway.configPath)
    const of = (report: DoctorReport, check: string) =>
      report.diagnoses.filter((one) => one.check === check)
    expect(of(first.report, 'disk-space')).toMatchObject([{ standing: 'problem' }])
    expect(of(first.report, 'sink')).not.toContainEqual(
      expect.objectContaining({ standing: 'unknown' }),
    )
    const tokens = () => receiver.requests.map(({ headers }) => headers['authorization'])
    expect(new Set(tokens())).toEqual(new Set(['Bearer in-force']))
    const asked = tokens().length
    const written = readFileSync(gateway.configPath, 'utf8')
    writeFileSync(gateway.configPath, written.replace('in-force', 'of-the-file'))
    const second = await examine(gateway.configPath)
    expect(of(second.report, 'configuration')).toMatchObject([
      { standing: 'warning', detail: expect.stringContaining('sinks.cloud.bearerToken') },
    ])
    expect(of(second.report, 'sink')).toMatchObject([{ subject: 'cloud', standing: 'unknown' }])
    expect(tokens()).toHaveLength(asked)
    writeFileSync(gateway.configPath, 'gatway: {}')
    const third = await examine(gateway.configPath)
    expect(of(third.report, 'configuration')).toMatchObject([
      { standing: 'problem', detail: expect.stringContaining('gatway') },
    ])
    await gateway.stop()
    expect((await runProgram('gateway', ['doctor', '-c', gateway.configPath])).exit.code).toBe(2)
  })

  test('every check has been provoked', () => {
    const provoked = new Set([
      ...JUDGED.map(([, , check]) => check),
      ...Object.values(PROVOKED).map(({ check }) => check),
      'descriptors',
    ])
    expect(CHECKS.filter((check) => !provoked.has(check))).toEqual([])
  })
})

describe('a healthy box', () => {
  test('has no finding, with a gateway that runs and with one that is stopped', async () => {
    const gateway = await GatewayProcess.start({ folder, sinkUrl: receiver.url })
    const running = await examine(gateway.configPath)
    expect(findingsOf(running.report)).toEqual([])
    expect(running).toMatchObject({ code: 0, report: { running: true, problems: 0 } })
    const checks = new Set(running.report.diagnoses.map(({ check }) => check))
    expect(CHECKS.filter((check) => !checks.has(check))).toEqual(['clock-skew', 'certificates'])
    await gateway.stop()
    const stopped = await examine(gateway.configPath)
    expect(findingsOf(stopped.report)).toEqual([])
    expect(stopped).toMatchObject({ code: 0, report: { running: false } })
    const sync = stopped.report.diagnoses.find(({ check }) => check === 'disk-fsync')
    expect(sync?.detail).toMatch(/^fsync takes [\d.]+ ms, at most [\d.]+ ms in 8 tries/)
  })

  test('as text: every check in a line; --quiet says the sum alone', async () => {
    const file = await write({})
    const { stdout } = await runProgram('gateway', ['doctor', '-c', file])
    expect(stdout).toMatch(/^ok {7}disk-space: [\d.]+ [GT]iB are free$/m)
    expect(stdout).not.toContain('\u001B')
    const quiet = await runProgram('gateway', ['doctor', '-q', '-c', file])
    expect(quiet.stdout.trim().split('\n').at(-1)).toMatch(/\(the gateway does not run\)$/)
  })

  test('a configuration that is refused is said as by check', async () => {
    const file = await write({ gatway: {} })
    const { exit, stderr } = await runProgram('gateway', ['doctor', '-c', file])
    expect(exit.code).toBe(2)
    expect(stderr).toContain('CONFIG_UNKNOWN_KEY')
  })
})
