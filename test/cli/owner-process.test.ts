/**
 * Who may use the data folder: commands that root runs on a stopped gateway's folder leave nothing
 * that locks out the gateway's user, and files that it may not read are refused in words (I7, I8).
 * Needs root, for other users.
 */
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { builtProgram, reapProcesses, runToEnd, startProcess } from '../support/process.ts'
import { durable, lanes, message, openSpool } from '../support/spool-fixture.ts'
import { findTool } from '../support/tools.ts'

/** Of nobody: no process of this machine. */
const USER = 54_321
const canBeOthers = process.getuid?.() === 0 && findTool('setpriv') !== null

let folder: string
let dataDir: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-owner-'))
  dataDir = join(folder, 'data')
  // Others may pass through.
  mkdirSync(dataDir, { mode: 0o755 })
  writeFileSync(
    join(folder, 'sluice.yaml'),
    [
      `gateway: { id: edge-01, dataDir: ${dataDir} }`,
      'mqtt: { listeners: [{ host: 127.0.0.1, port: 0 }] }',
      'sinks: { cloud: { url: "http://127.0.0.1:9/ingest" } }',
      'spool: { minFreeBytes: 1MiB }',
      'admin: { port: 0 }',
      'log: { format: json }',
    ].join('\n'),
  )
  chmodSync(folder, 0o755)
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

async function fill(): Promise<void> {
  const { spool } = await openSpool(dataDir, { ballastBytes: 4096 })
  const to = lanes(spool, 'd', 't')
  for (let n = 1; n <= 3; n++)
    await durable(spool, spool.appender.append(to, message(`{"n":${n}}`)))
  await spool.stop()
}

function all(): string[] {
  const names = readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
  return [dataDir, ...names.map((name) => join(dataDir, name))]
}

function belongsTo(user: number): string[] {
  return all().filter((path) => lstatSync(path).uid === user)
}

function give(user: number): void {
  for (const path of all()) chownSync(path, user, user)
}

const command = (...args: string[]): string[] => [
  builtProgram('gateway'),
  ...args,
  '--config',
  join(folder, 'sluice.yaml'),
]

describe.runIf(canBeOthers)('the data folder and its user', () => {
  it('a command that root runs leaves no file that the gateway could not use', async () => {
    await fill()
    give(USER)
    const out = join(folder, 'export.ndjson')
    for (const args of [
      ['status'],
      ['streams', 'list'],
      ['streams', 'export', 'telemetry', '--out', out],
      ['spool', 'verify'],
    ]) {
      const { exit, stderr } = await runToEnd('sh', [
        '-c',
        'umask 027; exec "$@"',
        'sh',
        process.execPath,
        ...command(...args),
      ])
      expect(exit.code, stderr).toBe(0)
      expect(belongsTo(0), args.join(' ')).toEqual([])
    }
    expect(lstatSync(out).uid, 'what it was asked to write is the caller’s').toBe(0)
  })

  it('a restore by root, of a backup that root alone can read, leaves a folder that the gateway can use', async () => {
    await fill()
    const backup = join(folder, 'backup')
    const run = async (...args: string[]) => runToEnd(process.execPath, command(...args))
    expect((await run('spool', 'backup', backup)).exit.code).toBe(0)
    chmodSync(backup, 0o600)
    rmSync(dataDir, { recursive: true })
    mkdirSync(dataDir, { mode: 0o700 })
    give(USER)
    const { exit, stderr } = await run('spool', 'restore', backup)
    expect(exit.code, stderr).toBe(0)
    expect(readdirSync(dataDir)).toContain('spool')
    expect(belongsTo(0)).toEqual([])
    expect((await run('spool', 'restore', '--replace', backup)).exit.code).toBe(0)
    expect(belongsTo(0)).toEqual([])
  })

  it('files of another user are refused in words that name them and the chown, and cost nothing', async () => {
    await fill()
    give(USER)
    const [table] = readdirSync(join(dataDir, 'spool')).filter((name) => /\.log$|\.ldb$/.test(name))
    const path = join(dataDir, 'spool', table as string)
    chownSync(path, 0, 0)
    chmodSync(path, 0o600)
    const before = all()
    const asUser = [
      '--reuid',
      String(USER),
      '--regid',
      String(USER),
      '--clear-groups',
      process.execPath,
    ]
    const { exit, stderr } = await runToEnd('setpriv', [...asUser, ...command('start')])
    expect(exit.code).toBe(1)
    expect(stderr).toContain(`user ${USER} may not use ${path} (EACCES), which belongs to user 0`)
    expect(stderr).toContain(`chown -R ${USER} ${dataDir}`)
    expect(all().filter((name) => /damaged|stray|aside-/.test(name))).toEqual([])
    expect(
      before.filter((name) => /ldb$|log$|MANIFEST|CURRENT/.test(name) && !all().includes(name)),
    ).toEqual([])

    chownSync(path, USER, USER)
    const gateway = startProcess('setpriv', [...asUser, ...command('start')])
    await gateway.waitForLine(({ text }) => /spool\.opened.*"pendingRecords":3/.test(text))
    gateway.kill('SIGTERM')
    await gateway.waitForExit(20_000)
    expect(belongsTo(0)).toEqual([])
  })
})
