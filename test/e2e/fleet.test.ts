import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import type { FleetReport } from '../../device-sim/fleet/report.ts'
import { freePorts } from '../../device-sim/free-ports.ts'
import { reapProcesses, runProgram } from '../support/process.ts'
import { Rig } from './rig.ts'

const tls = (file: string): string =>
  fileURLToPath(new URL(`../support/tls/${file}`, import.meta.url))

const rigs: Rig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.close()
  await reapProcesses()
})

/** Runs a fleet to its end and verifies it; both must be content. */
async function runAndVerify(rig: Rig, ...flags: readonly string[]): Promise<FleetReport> {
  const ledger = join(rig.folder, 'run.ndjson')
  const run = [
    'run',
    '--devices=9',
    '--rate=200',
    '--seconds=2',
    '--qos=1:1:1',
    '--ramp=0.2',
    '--seed=8',
  ]
  const ran = await runProgram('device-sim', [...run, `--ledger=${ledger}`, '--json', ...flags])
  expect(ran.exit.code, `${ran.stdout}\n${ran.stderr}\n${rig.gateway.logTail(20)}`).toBe(0)
  const report = JSON.parse(ran.stdout) as FleetReport
  const [, one, two] = report.acked
  expect(one + two).toBeGreaterThan(150)
  await rig.records(one + two)
  const store = join(rig.folder, 'cloud')
  const verified = await runProgram('device-sim', [
    'verify',
    `--ledger=${ledger}`,
    `--store=${store}`,
  ])
  expect(verified.exit.code, verified.stdout).toBe(0)
  return report
}

describe('sluice-sim against a gateway', () => {
  test('over plain MQTT at all three QoS', async () => {
    const rig = await Rig.start()
    rigs.push(rig)
    const report = await runAndVerify(rig, `--url=${rig.gateway.mqttUrl}`)
    expect(report.connections).toMatchObject({
      connects: 9,
      failures: 0,
      refusals: 0,
      sessionsLost: 0,
    })
  })

  test('over TLS with a client certificate, and over WebSocket', async () => {
    const [plain = 0, secure = 0, web = 0] = await freePorts(3)
    const host = '127.0.0.1'
    const rig = await Rig.start({
      mqtt: {
        listeners: [
          { host, port: plain },
          {
            host,
            port: secure,
            tls: {
              cert: tls('server.pem'),
              key: tls('server.key'),
              ca: tls('authority.pem'),
              requireClientCert: true,
            },
          },
          { host, port: web, websocket: true },
        ],
      },
    })
    rigs.push(rig)
    await runAndVerify(rig, `--url=ws://${host}:${web}`, '--prefix=web-')
    const certificate = [
      `--ca=${tls('authority.pem')}`,
      `--cert=${tls('client.pem')}`,
      `--key=${tls('client.key')}`,
    ]
    await runAndVerify(rig, `--url=mqtts://localhost:${secure}`, '--prefix=tls-', ...certificate)
    const without = await runProgram('device-sim', [
      'run',
      `--url=mqtts://localhost:${secure}`,
      `--ca=${tls('authority.pem')}`,
      '--seconds=2',
      '--ack-timeout=4',
    ])
    expect(without.exit.code).toBe(1)
  })

  test('with a password, and not without', async () => {
    const rig = await Rig.start()
    rigs.push(rig)
    await rig.gateway.stop()
    const passwordFile = join(rig.folder, 'passwords')
    const passwd = await runProgram('gateway', ['passwd', 'plant', '--file', passwordFile], {
      input: 'geheim\n',
    })
    expect(passwd.exit.code, passwd.stderr).toBe(0)
    const port = Number(rig.mqttPort)
    writeFileSync(
      rig.gateway.configPath,
      JSON.stringify({
        gateway: { id: 'demo', dataDir: './spool' },
        mqtt: { listeners: [{ host: '127.0.0.1', port }], auth: { passwordFile } },
        sinks: { cloud: { type: 'http', url: rig.cloud.url } },
        spool: { minFreeBytes: '64MiB' },
        admin: { host: '127.0.0.1', port: Number(new URL(rig.gateway.adminUrl).port) },
      }),
    )
    await rig.startGateway()
    const url = `--url=${rig.gateway.mqttUrl}`
    await runAndVerify(rig, url, '--username=plant', '--password=geheim')
    const refused = await runProgram('device-sim', [
      'run',
      url,
      '--username=plant',
      '--password=wrong',
      '--devices=2',
      '--seconds=2',
      '--ack-timeout=4',
    ])
    expect(refused.exit.code).toBe(1)
    expect(refused.stdout).toMatch(/Bad username or password|Not authorized/)
  })
})
