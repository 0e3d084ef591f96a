/**
 * `sluice-sim demo`: flags, the live display, the audit, PASS or FAIL. The scenario is demo/demo.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { ACK_SECONDS, DRAIN_SECONDS } from '../demo/balance.ts'
import { Demo, type DemoResult, type DemoState } from '../demo/demo.ts'
import type { ProtocolMix } from '../fleet/dialect.ts'
import { FLEET_DEFAULTS } from '../fleet/options.ts'
import { verdictRows } from '../ledger/report.ts'
import { count, table } from '../table.ts'
import { positiveNumber, protocolMix, wholeNumber } from './options.ts'
import { type Progress, showProgress } from './progress.ts'

interface Flags {
  readonly devices: number
  readonly seconds: number
  readonly seed?: string
  readonly protocol: ProtocolMix
  readonly keep?: boolean
  readonly json?: boolean
  readonly gateway?: string
}

/** On top of what the steps may take: start, restart, verifying. */
const SLACK_SECONDS = 60

const NEXT = `
Next, each in a terminal of its own:
  npm run cloud            the reference cloud; readings show up there, and on http://127.0.0.1:9000/
  npm start                a gateway for your own devices: MQTT on 127.0.0.1:1883
  npx mqtt pub -q 1 -t plant/press-7/temp -m '{"celsius":21.4}'     a reading (or mosquitto_pub with the same flags)
This demo again, left running to look around: npm run demo -- --keep
`

export function demoCommand(): Command {
  return new Command('demo')
    .description(
      'gateway, cloud and fleet on this machine, with everything going wrong; PASS or FAIL',
    )
    .option('--devices <n>', 'number of devices, QoS 1 and 2 mixed', wholeNumber(2, 10_000), 200)
    .option('--seconds <n>', 'how long the fleet measures; at least 5', positiveNumber, 45)
    .option(
      '--protocol <3.1.1|5|mix>',
      'version of MQTT that devices speak',
      protocolMix,
      FLEET_DEFAULTS.protocol,
    )
    .option('--seed <text>', 'decides readings and faults (default: another one each time)')
    .option('--keep', 'leave everything running at the end and print where to look; Ctrl-C ends it')
    .option('--json', 'print the result as JSON on stdout')
    .option('--gateway <file>', 'another build of the gateway (its main.js)')
    .addHelpText(
      'after',
      `
Starts a gateway with a spool in a temporary folder, the reference cloud and a fleet, on loopback ports that are free.
The fleet cuts its connections in the middle of exchanges, the cloud goes down for some seconds, answers 503 with
Retry-After and loses answers after storing, and the gateway is killed with SIGKILL in the middle and started again.

PASS needs every reading acknowledged within ${ACK_SECONDS} s and nothing pending within ${DRAIN_SECONDS} s after the fleet stops, nothing lost, no
QoS 2 reading stored twice, nothing out of order, dropped or dead-lettered, counters that balance, stored bytes equal
to the published ones, and each of the faults counted at least once. Exit code: 0 for PASS, 1 for FAIL.`,
    )
    .action(demo)
}

async function demo(flags: Flags): Promise<void> {
  const seconds = Math.max(5, flags.seconds)
  const seed = flags.seed ?? String(1 + Math.floor(Math.random() * 999_999_999))
  const folder = mkdtempSync(join(tmpdir(), 'sluice-demo-'))
  const out = flags.json === true ? process.stderr : process.stdout
  out.write(`Sluice demo: ${flags.devices} devices, ${seconds} s, seed ${seed}\n`)
  let running: Demo | null = null
  let progress: Progress | null = null
  const interrupt = (): void => {
    progress?.stop()
    void end(running, folder, true).finally(() => process.exit(130))
  }
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const deadline = setTimeout(
    () => {
      progress?.stop()
      out.write(`FAIL: the demo as a whole took too long; what there is: ${folder}\n`)
      process.exit(1)
    },
    (seconds + ACK_SECONDS + DRAIN_SECONDS + SLACK_SECONDS) * 1000,
  )
  try {
    running = await Demo.start(
      {
        devices: flags.devices,
        seconds,
        seed,
        protocol: flags.protocol,
        folder,
        ...(flags.gateway === undefined ? {} : { program: flags.gateway }),
      },
      (text) => progress?.note(text),
    )
    const started = running
    progress = showProgress(() => stateLine(started.state))
    const result = await started.run()
    progress.stop()
    progress = null
    clearTimeout(deadline)
    report(result, started, seed, out)
    if (flags.json === true)
      process.stdout.write(`${JSON.stringify({ seed, ...result }, null, 2)}\n`)
    if (!result.passed) out.write(`What there is: ${folder}\n`)
    else if (flags.keep !== true) out.write(NEXT)
    process.exitCode = result.passed ? 0 : 1
    if (flags.keep === true) await keep(started, folder, out)
    await end(started, folder, result.passed)
  } catch (error) {
    progress?.stop()
    out.write(`FAIL: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
    await end(running, folder, false)
  } finally {
    clearTimeout(deadline)
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
}

async function end(running: Demo | null, folder: string, remove: boolean): Promise<void> {
  await running?.close()
  if (remove) rmSync(folder, { recursive: true, force: true })
}

/** Leaves everything running until a signal comes. */
async function keep(running: Demo, folder: string, out: NodeJS.WriteStream): Promise<void> {
  process.removeAllListeners('SIGINT')
  process.removeAllListeners('SIGTERM')
  running.keep()
  out.write(
    `${[
      'Still running; Ctrl-C ends it. Publish something yourself, look around:',
      `  MQTT      ${running.gateway.mqttUrl}`,
      `  gateway   ${running.gateway.adminUrl}/  (also /api/status, /metrics)`,
      `  cloud     ${running.cloud.adminUrl}/  (also /stats, /records, /metrics, /faults)`,
      `  publish   npx mqtt pub -p ${new URL(running.gateway.mqttUrl).port} -q 1 -i press-7 -t plant/press-7/temp -m '{"celsius":21.4}'`,
      `  see it    curl '${running.cloud.adminUrl}/records?device=press-7'`,
      `  folder    ${folder}`,
    ].join('\n')}\n`,
  )
  const progress = showProgress(() => stateLine(running.state))
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
  progress.stop()
}

function report(result: DemoResult, running: Demo, seed: string, out: NodeJS.WriteStream): void {
  const { verdict, account } = result
  const { stats } = running.fleet
  out.write('\nBalance\n')
  out.write(
    `${table([
      ...verdictRows(verdict),
      ['received', account?.received ?? '?', 'by the gateway: repeats of QoS 1 devices included'],
      ['delivered', account?.delivered ?? '?'],
      ['dead-lettered', account?.deadLettered ?? '?'],
      ['dropped', account?.dropped ?? '?'],
      ['pending', account?.pending ?? '?'],
      [
        'repeats removed',
        result.repeatsRemoved,
        'sent again by the gateway, removed by the cloud by seq',
      ],
      [
        'connections dropped',
        stats.drops,
        `${count(stats.halfOpens)} half-open, ${count(stats.storms)} storms`,
      ],
      ['PUBLISH sent again', stats.resent, `${count(stats.releasesResent)} PUBREL again`],
      ['malformed readings', stats.malformed, 'delivered as base64'],
    ])}\n`,
  )
  out.write('\nChecks\n')
  for (const { ok, what, got } of result.checks)
    out.write(`  ${ok ? 'ok  ' : 'FAIL'}  ${what}: ${got}\n`)
  for (const example of verdict.examples) out.write(`  ! ${example}\n`)
  for (const exit of running.gateway.unexpectedExits) out.write(`  ! the gateway ended: ${exit}\n`)
  if (!result.passed) out.write(`\nThe gateway's last lines\n${running.gateway.logTail(15)}\n`)
  out.write(`\n${result.passed ? 'PASS' : 'FAIL'} (seed ${seed})\n`)
}

function stateLine(state: DemoState): string {
  const { account } = state
  return [
    `${state.seconds.toFixed(1).padStart(6)} s`,
    `connected ${count(state.connected)}`,
    `published ${count(state.published)}`,
    `acked ${count(state.acked)}`,
    account === null
      ? 'gateway away'
      : `backlog ${count(account.pending)}  delivered ${count(account.delivered)}`,
    `links cut ${count(state.drops)}`,
  ].join('  ')
}
