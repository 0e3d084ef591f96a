import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { FleetReport } from '../../device-sim/fleet/report.ts'
import { type LedgerEntry, readLedger } from '../../device-sim/ledger/ledger.ts'
import type { Verdict } from '../../device-sim/ledger/verify.ts'
import { builtProgram, reapProcesses, runProgram, startProgram } from '../support/process.ts'
import { StrictBroker } from './fleet/strict-broker.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-sim-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true })
})

/** One batch of the ingest contract, from what a broker received. */
async function post(url: string, broker: StrictBroker, from = 0): Promise<Response> {
  const lines = broker.received.slice(from).map(({ client, payload, qos }, index) => {
    const seq = from + index + 1
    return `{"id":"g:s:t:${seq}","seq":${seq},"device":"${client}","topic":"x","qos":${qos},"receivedAt":"2026-01-01T00:00:00.000Z","payload":${payload.toString()}}\n`
  })
  const last = broker.received.length
  const body = lines.join('')
  const crc = crc32(body).toString(16).padStart(8, '0')
  return fetch(url, {
    method: 'POST',
    headers: {
      'Sluice-Contract': '1',
      'Content-Type': 'application/x-ndjson',
      'Idempotency-Key': `"g:s:t:${from + 1}-${last}:${crc}"`,
      'Sluice-Gateway': 'g',
      'Sluice-Spool': 's',
      'Sluice-Stream': 't',
      'Sluice-First-Seq': String(from + 1),
      'Sluice-Last-Seq': String(last),
      'Sluice-Record-Count': String(lines.length),
    },
    body,
  })
}

describe('sluice-sim', () => {
  test('run, cloud and verify work together, and verify says what is missing', async () => {
    const broker = new StrictBroker(1)
    await broker.start()
    const ledger = join(folder, 'run.ndjson')
    const store = join(folder, 'cloud')
    const flags = [
      '--url',
      broker.url,
      '--devices',
      '4',
      '--rate',
      '100',
      '--ramp',
      '0.1',
      '--qos',
      '1:2:2',
    ]
    const ran = await runProgram('device-sim', [
      'run',
      ...flags,
      '--seconds',
      '1.5',
      '--seed',
      '9',
      '--ledger',
      ledger,
      '--json',
    ])
    expect(ran.exit.code, ran.stderr).toBe(0)
    const report = JSON.parse(ran.stdout) as FleetReport
    const published = report.published[0] + report.published[1] + report.published[2]
    expect(report).toMatchObject({ seed: '9', devices: 4, unacknowledged: 0 })
    expect(published).toBeGreaterThan(80)
    expect(broker.keptSessions.size).toBe(0)
    // Measured now, not in a simulated year.
    const { at } = JSON.parse(broker.received[0]?.payload.toString() ?? '') as { at: string }
    expect(Math.abs(Date.parse(at) - Date.now())).toBeLessThan(60_000)
    expect(await readLedger(ledger)).toHaveLength(published)
    expect((await readLedger(ledger)).every((entry: LedgerEntry) => entry.ackedAtMs !== null)).toBe(
      true,
    )

    const cloud = startProgram('device-sim', ['cloud', '--port', '0', '--store', store])
    const url = (await cloud.waitForLine('POST batches to')).text.split(' ').at(-1) ?? ''
    const held = broker.received.splice(broker.received.length - 5)
    const first = await post(url, broker)
    expect(first.status, await first.text()).toBe(200)
    // They are seen to arrive.
    await cloud.waitForLine(/^\d\d:\d\d:\d\d {2}device-\d{4} {2}x {2}\{"device":"device-/)
    const verify = ['verify', '--ledger', ledger, '--store', store, '--json']
    const missing = await runProgram('device-sim', verify)
    expect(missing.exit.code).toBe(1)
    const lost = held.filter(({ qos }) => qos > 0).length
    expect(JSON.parse(missing.stdout)).toMatchObject({ lost, qos0Missing: 5 - lost, ok: false })

    const before = broker.received.length
    broker.received.push(...held)
    expect((await post(url, broker, before)).status).toBe(200)
    cloud.kill('SIGTERM')
    expect((await cloud.waitForExit()).code).toBe(0)
    const whole = await runProgram('device-sim', verify)
    expect(whole.exit.code, whole.stdout).toBe(0)
    const verdict = JSON.parse(whole.stdout) as Verdict
    expect(verdict).toMatchObject({ lost: 0, pending: 0, storedReadings: published, ok: true })
    const table = await runProgram('device-sim', verify.slice(0, -1))
    expect(table.stdout).toMatch(/lost +0 [^]*\nOK\n$/)
    await broker.kill()
  })

  test('a run without a gateway ends at its time-out with exit code 1 and says why', async () => {
    const { exit, stdout, stderr } = await runProgram('device-sim', [
      'run',
      '--url=mqtt://127.0.0.1:1',
      '--devices=2',
      '--rate=20',
      '--seconds=0.5',
      '--ack-timeout=0.5',
    ])
    expect(exit.code).toBe(1)
    expect(stdout).toMatch(/not acknowledged +[1-9]/)
    expect(stdout).toMatch(/ECONNREFUSED/)
    expect(stderr).toMatch(/connected 0\/2 .*no connection: connect ECONNREFUSED/)
  })

  test('Ctrl-C ends a run in good order: what devices hold is still acknowledged', async () => {
    const broker = new StrictBroker(50)
    await broker.start()
    const one = startProgram('device-sim', ['run', '--url', broker.url, '--rate', '100', '--json'])
    await one.waitForLine(/published [1-9]/)
    one.kill('SIGINT')
    expect((await one.waitForExit()).code).toBe(0)
    expect(JSON.parse(one.stdout)).toMatchObject({ unacknowledged: 0 })
    await broker.kill()
  })

  test('says its version, and ends quietly when whoever read along has gone', async () => {
    expect((await runProgram('device-sim', ['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    const child = spawn(process.execPath, [builtProgram('device-sim'), 'run', '--help'])
    const stderr: Buffer[] = []
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    // Before it has begun to write.
    child.stdout.destroy()
    const [code] = (await once(child, 'close')) as [number | null]
    expect(Buffer.concat(stderr).toString()).toBe('')
    expect(code).toBe(0)
  })

  test('wrong flags and unreadable files are exit code 2, with what was wanted', async () => {
    const ledger = join(folder, 'run.ndjson')
    writeFileSync(ledger, '{"ledger":1,"seed":"1","startedAt":""}\n')
    const cases: ReadonlyArray<readonly [readonly string[], RegExp]> = [
      [['run', '--qos', '1:2'], /Want weights of QoS 0, 1 and 2 such as 0:50:50.*got "1:2"/],
      [['run', '--qos', '0:0:0'], /not all 0/],
      [['run', '--topic', 'a/#'], /Want a topic to publish on, without \+ and #.*got "a\/#"/],
      [
        ['run', '--topic', 'a/{sensor}'],
        /no other placeholders than \{device\}, .*got "\{sensor\}"/,
      ],
      [['run', '--bytes', '20'], /Want a whole number from 80/],
      [
        ['run', '--ledger', join(folder, 'none', 'run.ndjson')],
        /ledger .* cannot be written: its folder does not exist/,
      ],
      [['run', '--models', 'gps,moon'], /Want some of temperature, .*got "moon"/],
      [['run', '--late', '120%'], /Want a share from 0 to 1.*got "120%"/],
      [['run', '--devices', '0'], /Want a whole number from 1/],
      [['run', '--url', 'http://x'], /Want mqtt:\/\/host:port/],
      [['cloud', '--fault', '{'], /Want a JSON object/],
      [
        ['cloud', '--fault', '{"kind":"rain"}', '--port', '0', '--store', join(folder, 'c')],
        /kind: want one of outage, /,
      ],
      [
        [
          'cloud',
          '--fault',
          '{"kind":"refuse","match":{"seq":1}}',
          '--port',
          '0',
          '--store',
          join(folder, 'c'),
        ],
        /match: want one of \{"share": 0\.01\}, /,
      ],
      [['cloud', '--cert', 'x'], /--cert and --key go together/],
      [['verify', '--ledger', join(folder, 'none'), '--store', folder], /ENOENT/],
      [['verify', '--ledger', ledger, '--store', join(folder, 'none')], /none is no folder/],
      [['verify'], /required option '--ledger <file>'/],
      [['dance'], /unknown command 'dance'/],
    ]
    for (const [args, message] of cases) {
      const { exit, stderr } = await runProgram('device-sim', args)
      expect(stderr, args.join(' ')).toMatch(message)
      expect(exit.code, args.join(' ')).toBe(2)
    }
  })
})
