/**
 * `sluice-sim run`: a fleet against a gateway, its progress, the table at the end.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Command } from 'commander'
import { Fleet } from '../fleet/fleet.ts'
import type { FleetOptions } from '../fleet/options.ts'
import { type FleetReport, fleetReport, fleetRows, progressLine } from '../fleet/report.ts'
import { Ledger } from '../ledger/ledger.ts'
import { table } from '../table.ts'
import { showProgress } from './progress.ts'
import { addRunFlags, fleetOptions, type RunFlags } from './run-flags.ts'

const FORGET_TIMEOUT_MS = 10_000

const HELP = `
Devices are numbered; each has one model and one QoS and keeps them. A device keeps its readings until they are
acknowledged and sends them again after a reconnect, in order, with the same packet ids; QoS 2 devices keep their
session (clean session false). A run ends after --seconds or at Ctrl-C: measuring stops, and everything that the
devices hold has --ack-timeout to be acknowledged.

Rates of faults: --drops and --half-opens are per device and minute, --storms is per fleet and minute; --duplicates,
--late and --malformed are shares of readings (0.05 or 5%). Cuts fall into exchanges: behind a PUBLISH, before an ack
is heard, around PUBREL. The same --seed gives the same readings and the same faults; with --fixed-time (a simulated
clock that begins in 2026) byte for byte.

At its end the fleet clears its sessions at the gateway, of devices whose readings were all acknowledged.

Examples:
  sluice-sim run --devices 50 --rate 100 --seconds 60
  sluice-sim run --url mqtts://box:8883 --ca ca.pem --username '{device}' --password-file secret --qos 1:2:1
  sluice-sim run --drops 2 --storms 1 --duplicates 1% --ledger run.ndjson && sluice-sim verify --ledger run.ndjson --store cloud

Exit code: 0 when everything was acknowledged, 1 when not, 2 when the flags or files are wrong.`

export function runCommand(): Command {
  return addRunFlags(new Command('run'))
    .description('run a fleet of devices against a gateway')
    .addHelpText('after', HELP)
    .action(async (flags: RunFlags) => {
      const report = await runFleet(fleetOptions(flags), flags)
      if (flags.json === true) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
      else process.stdout.write(`${table(fleetRows(report))}\n`)
      process.exitCode = report.unacknowledged === 0 ? 0 : 1
    })
}

async function runFleet(options: FleetOptions, flags: RunFlags): Promise<FleetReport> {
  const startedAt = new Date()
  const ledger = new Ledger(flags.ledger ?? null, options.seed, startedAt)
  const fleet = new Fleet(options, ledger)
  const over = new AbortController()
  let interrupts = 0
  const interrupt = (): void => {
    // The second one means it.
    if (++interrupts > 1) process.exit(130)
    over.abort()
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  const startMs = performance.now()
  const progress = showProgress(() =>
    progressLine(fleet, ledger, (performance.now() - startMs) / 1000),
  )
  fleet.start()
  const measureMs = flags.seconds === undefined ? 2 ** 31 - 1 : flags.seconds * 1000
  await sleep(measureMs, undefined, { signal: over.signal }).catch(() => undefined)
  fleet.finish()
  const measuredSeconds = (performance.now() - startMs) / 1000
  await fleet.acknowledged(flags.ackTimeout * 1000)
  progress.stop()
  const report = fleetReport(
    fleet,
    ledger,
    measuredSeconds,
    (performance.now() - startMs) / 1000,
    options.seed,
  )
  await fleet.close()
  const left = flags.keepSessions === true ? 0 : await fleet.forgetSessions(FORGET_TIMEOUT_MS)
  if (left > 0)
    process.stderr.write(
      `sluice-sim: ${left} sessions are left at the gateway: it did not answer\n`,
    )
  await ledger.close()
  process.off('SIGINT', interrupt)
  process.off('SIGTERM', interrupt)
  return report
}
