/**
 * `sluice-sim run`: a fleet against a gateway. Flags to options, progress, the table at the end.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Command, Option } from 'commander'
import { Fleet } from '../fleet/fleet.ts'
import { FLEET_DEFAULTS, type FleetOptions } from '../fleet/options.ts'
import { type FleetReport, fleetReport, fleetRows, progressLine } from '../fleet/report.ts'
import { Ledger } from '../ledger/ledger.ts'
import { LEAST_PAYLOAD_BYTES, type ModelKind } from '../models/model.ts'
import { table } from '../table.ts'
import {
  brokerUrl,
  models,
  positiveNumber,
  qosShares,
  rate,
  share,
  topicTemplate,
  wholeNumber,
} from './options.ts'
import { showProgress } from './progress.ts'

interface Flags {
  readonly url: string
  readonly devices: number
  readonly rate: number
  readonly seconds?: number
  readonly qos: readonly [number, number, number]
  readonly bytes: number
  readonly fixedTime?: boolean
  readonly keepSessions?: boolean
  readonly models: readonly ModelKind[]
  readonly prefix: string
  readonly topic: string
  readonly ramp: number
  readonly window: number
  readonly backlog: number
  readonly keepalive: number
  readonly drops: number
  readonly halfOpens: number
  readonly storms: number
  readonly stormShare: number
  readonly duplicates: number
  readonly late: number
  readonly malformed: number
  readonly username?: string
  readonly password?: string
  readonly passwordFile?: string
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly insecure?: boolean
  readonly ledger?: string
  readonly ackTimeout: number
  readonly seed: string
  readonly json?: boolean
}

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
  const { faults } = FLEET_DEFAULTS
  return new Command('run')
    .description('run a fleet of devices against a gateway')
    .option(
      '--url <url>',
      'gateway: mqtt://, mqtts://, ws:// or wss://',
      brokerUrl,
      FLEET_DEFAULTS.url,
    )
    .option('--devices <n>', 'number of devices', wholeNumber(1, 100_000), FLEET_DEFAULTS.devices)
    .option(
      '--rate <n>',
      'readings per second of all devices together',
      positiveNumber,
      FLEET_DEFAULTS.ratePerSecond,
    )
    .option('--seconds <n>', 'measure so long (default: until Ctrl-C)', positiveNumber)
    .addOption(
      new Option('--qos <0:1:2>', 'weights of devices at QoS 0, 1 and 2')
        .argParser(qosShares)
        .default(FLEET_DEFAULTS.qosShares, FLEET_DEFAULTS.qosShares.join(':')),
    )
    .option(
      '--bytes <n>',
      `size of a reading, within a few bytes; at least ${LEAST_PAYLOAD_BYTES}: device, number, time`,
      wholeNumber(LEAST_PAYLOAD_BYTES, 10_000_000),
      FLEET_DEFAULTS.payloadBytes,
    )
    .option('--fixed-time', 'readings carry a simulated time, so that the seed decides every byte')
    .addOption(
      new Option('--models <list>', 'what devices measure, in turn')
        .argParser(models)
        .default(FLEET_DEFAULTS.models, FLEET_DEFAULTS.models.join(',')),
    )
    .option('--prefix <text>', 'client ids are this and a number', FLEET_DEFAULTS.devicePrefix)
    .option(
      '--topic <template>',
      'with {device}, {model} and {n} (0 to 9)',
      topicTemplate,
      FLEET_DEFAULTS.topic,
    )
    .option(
      '--ramp <seconds>',
      'spread the first connects over this time',
      rate,
      FLEET_DEFAULTS.rampMs / 1000,
    )
    .option(
      '--window <n>',
      'unacknowledged readings on the wire per device',
      wholeNumber(1, 10_000),
      FLEET_DEFAULTS.window,
    )
    .option(
      '--backlog <n>',
      'readings a device keeps while it cannot send',
      wholeNumber(1),
      FLEET_DEFAULTS.maxBacklog,
    )
    .option(
      '--keepalive <seconds>',
      'MQTT keepalive',
      wholeNumber(1, 65_535),
      FLEET_DEFAULTS.keepaliveSeconds,
    )
    .option('--drops <rate>', 'cut connections, per device and minute', rate, faults.dropsPerMinute)
    .option(
      '--half-opens <rate>',
      'half-open links, per device and minute',
      rate,
      faults.halfOpensPerMinute,
    )
    .option('--storms <rate>', 'reconnect storms, per minute', rate, faults.stormsPerMinute)
    .option('--storm-share <share>', 'share of the devices in a storm', share, faults.stormShare)
    .option(
      '--duplicates <share>',
      'readings whose PUBLISH is sent twice',
      share,
      faults.duplicateShare,
    )
    .option('--late <share>', 'readings that are sent behind later ones', share, faults.lateShare)
    .option('--malformed <share>', 'readings that are not JSON', share, faults.malformedShare)
    .option('--username <text>', 'user name; {device} is replaced')
    .addOption(
      new Option('--password <text>', 'password; {device} is replaced').conflicts('passwordFile'),
    )
    .option('--password-file <file>', 'file with the password')
    .option('--ca <file>', 'PEM file of the authority that signed the gateway’s certificate')
    .option('--cert <file>', 'PEM file of a client certificate')
    .option('--key <file>', 'PEM file of its key')
    .option('--insecure', 'take any certificate of the gateway')
    .option(
      '--ledger <file>',
      'write every reading and its acknowledgement to this file, for `verify`',
    )
    .option('--ack-timeout <seconds>', 'wait so long for acknowledgements at the end', rate, 30)
    .option('--keep-sessions', 'leave the sessions of QoS 2 devices at the gateway')
    .option('--seed <text>', 'decides readings and faults', FLEET_DEFAULTS.seed)
    .option('--json', 'print the result as JSON on stdout; progress goes to stderr')
    .addHelpText('after', HELP)
    .action(async (flags: Flags) => {
      const report = await runFleet(fleetOptions(flags), flags)
      if (flags.json === true) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
      else process.stdout.write(`${table(fleetRows(report))}\n`)
      process.exitCode = report.unacknowledged === 0 ? 0 : 1
    })
}

async function runFleet(options: FleetOptions, flags: Flags): Promise<FleetReport> {
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

function fleetOptions(flags: Flags): FleetOptions {
  const pem = (path: string | undefined): Buffer | null =>
    path === undefined ? null : readFileSync(path)
  const password =
    flags.passwordFile === undefined
      ? (flags.password ?? '')
      : readFileSync(flags.passwordFile, 'utf8').replace(/\r?\n$/, '')
  return {
    ...FLEET_DEFAULTS,
    url: flags.url,
    devices: flags.devices,
    ratePerSecond: flags.rate,
    qosShares: flags.qos,
    payloadBytes: flags.bytes,
    realTime: flags.fixedTime !== true,
    models: flags.models,
    devicePrefix: flags.prefix,
    topic: flags.topic,
    rampMs: flags.ramp * 1000,
    window: flags.window,
    maxBacklog: flags.backlog,
    keepaliveSeconds: flags.keepalive,
    login: flags.username === undefined ? null : { username: flags.username, password },
    tls: {
      ca: pem(flags.ca),
      cert: pem(flags.cert),
      key: pem(flags.key),
      verify: flags.insecure !== true,
    },
    faults: {
      dropsPerMinute: flags.drops,
      halfOpensPerMinute: flags.halfOpens,
      stormsPerMinute: flags.storms,
      stormShare: flags.stormShare,
      duplicateShare: flags.duplicates,
      lateShare: flags.late,
      malformedShare: flags.malformed,
      between: null,
    },
    seed: flags.seed,
  }
}
