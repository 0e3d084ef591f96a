/** The flags of `sluice-sim run`, and the options of a fleet that they make. */
import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { ProtocolMix } from '../fleet/dialect.ts'
import { FLEET_DEFAULTS, type FleetOptions } from '../fleet/options.ts'
import { LEAST_PAYLOAD_BYTES, type ModelKind } from '../models/model.ts'
import {
  brokerUrl,
  models,
  positiveNumber,
  protocolMix,
  qosShares,
  rate,
  share,
  topicTemplate,
  wholeNumber,
} from './options.ts'

export interface RunFlags {
  readonly url: string
  readonly protocol: ProtocolMix
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
  readonly sessionExpiry: number
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

/** In the order of the help. */
export function addRunFlags(command: Command): Command {
  for (const add of [addFleetFlags, addDeviceFlags, addFaultFlags, addLoginFlags, addReportFlags])
    add(command)
  return command
}

function addFleetFlags(command: Command): void {
  command
    .option(
      '--url <url>',
      'gateway: mqtt://, mqtts://, ws:// or wss://',
      brokerUrl,
      FLEET_DEFAULTS.url,
    )
    .option(
      '--protocol <3.1.1|5|mix>',
      'version of MQTT that devices speak; mix: half and half, by the seed',
      protocolMix,
      FLEET_DEFAULTS.protocol,
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
}

function addDeviceFlags(command: Command): void {
  command
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
    .option(
      '--session-expiry <seconds>',
      'how long QoS 2 devices of MQTT 5 ask for their session to be kept',
      wholeNumber(1, 0xffff_ffff),
      FLEET_DEFAULTS.sessionExpirySeconds,
    )
}

function addFaultFlags(command: Command): void {
  const { faults } = FLEET_DEFAULTS
  command
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
}

function addLoginFlags(command: Command): void {
  command
    .option('--username <text>', 'user name; {device} is replaced')
    .addOption(
      new Option('--password <text>', 'password; {device} is replaced').conflicts('passwordFile'),
    )
    .option('--password-file <file>', 'file with the password')
    .option('--ca <file>', 'PEM file of the authority that signed the gateway’s certificate')
    .option('--cert <file>', 'PEM file of a client certificate')
    .option('--key <file>', 'PEM file of its key')
    .option('--insecure', 'take any certificate of the gateway')
}

function addReportFlags(command: Command): void {
  command
    .option(
      '--ledger <file>',
      'write every reading and its acknowledgement to this file, for `verify`',
    )
    .option('--ack-timeout <seconds>', 'wait so long for acknowledgements at the end', rate, 30)
    .option('--keep-sessions', 'leave the sessions of QoS 2 devices at the gateway')
    .option('--seed <text>', 'decides readings and faults', FLEET_DEFAULTS.seed)
    .option('--json', 'print the result as JSON on stdout; progress goes to stderr')
}

export function fleetOptions(flags: RunFlags): FleetOptions {
  const pem = (path: string | undefined): Buffer | null =>
    path === undefined ? null : readFileSync(path)
  const password =
    flags.passwordFile === undefined
      ? (flags.password ?? '')
      : readFileSync(flags.passwordFile, 'utf8').replace(/\r?\n$/, '')
  return {
    ...FLEET_DEFAULTS,
    url: flags.url,
    protocol: flags.protocol,
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
    sessionExpirySeconds: flags.sessionExpiry,
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
