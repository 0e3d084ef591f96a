/**
 * `sluice check`: is the configuration good, what is in effect, and how long an outage does it hold? Starts nothing and
 * writes nothing. Its output is YAML; what is not configuration is in comments.
 */
import { accessSync, constants } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Command } from 'commander'
import type { Config } from '../config/config.ts'
import { fitToHost, hostWarnings, readHostLimits } from '../host-limits.ts'
import { errorMessage } from '../shared/errors.ts'
import {
  ENVELOPE_BYTES,
  MESSAGE_BYTES,
  outageCapacity,
  RATES_PER_SECOND,
  reservedBytes,
  type StreamCapacity,
} from './capacity.ts'
import type { CliContext } from './context.ts'
import { EXIT } from './exit.ts'
import { type ConfigFlag, loadFlagged, withConfig } from './options.ts'
import type { Done } from './program.ts'
import { bytes, hours, table } from './words.ts'

export function checkCommand(context: CliContext, done: Done): Command {
  return withConfig(new Command('check'))
    .description('validate the configuration, print what is in effect, and how long an outage it holds')
    .action(async (flags: ConfigFlag) => {
      await check(flags, context)
      done(EXIT.ok)
    })
}

async function check(flags: ConfigFlag, context: CliContext): Promise<void> {
  const { config } = await loadFlagged(flags, context)
  const { effectiveYaml } = await import('../config/print.ts')
  context.stdout.write(`${effectiveYaml(config)}\n${comment(capacityText(config))}\n`)
  const free = await freeBytes(config.gateway.dataDir)
  if (free !== null) context.stdout.write(`${comment(diskText(config, free))}\n`)
  const host = readHostLimits()
  const warnings = [
    ...unreadableFiles(config),
    ...(await listenerFaults(config)),
    ...hostWarnings(fitToHost(config, host), host),
    ...(free === null ? [] : diskWarnings(config, free)),
  ]
  for (const warning of warnings) context.stderr.write(`warning: ${warning}\n`)
}

function capacityText(config: Config): string {
  const header = ['stream', ...RATES_PER_SECOND.map((rate) => `${rate} msg/s`)]
  const rows = outageCapacity(config).map((row) => [row.stream, ...row.hours.map(hours)])
  return [
    `An outage of the sink that each stream holds, at messages of ${MESSAGE_BYTES} bytes:`,
    '',
    table([header, ...rows]),
    '',
    `Assumed: ${ENVELOPE_BYTES} bytes of envelope; blocks of five records and more compress to half (measured 0.25 to`,
    '0.48), smaller ones not at all. Several streams at once share the disk.',
    ...outageCapacity(config)
      .filter(({ limitedByAge }) => limitedByAge)
      .map(ageText),
  ].join('\n')
}

function ageText({ stream }: StreamCapacity): string {
  return `${stream}: maxAge drops records before maxBytes is reached.`
}

function diskText(config: Config, free: number): string {
  return `Streams and dead letters may take ${bytes(reservedBytes(config))}; ${bytes(free)} of disk are free.`
}

function diskWarnings(config: Config, free: number): string[] {
  const { minFreeBytes } = config.spool
  const reserved = reservedBytes(config)
  const warnings: string[] = []
  if (free < minFreeBytes)
    warnings.push(
      `spool.minFreeBytes: ${bytes(free)} of disk are free, less than ${bytes(minFreeBytes)}: no message would be accepted`,
    )
  if (reserved > free)
    warnings.push(
      `streams: the sum of maxBytes (${bytes(reserved)}, dead letters included) exceeds the free disk (${bytes(free)}); the disk would be full before the limits are reached. Lower maxBytes, or give the spool a larger disk`,
    )
  else if (reserved + minFreeBytes > free)
    warnings.push(
      `streams: the sum of maxBytes (${bytes(reserved)}, dead letters included) and spool.minFreeBytes exceed the free disk (${bytes(free)}); ingest would close before the limits are reached`,
    )
  return warnings
}

/** Of the file system that the folder is on, or will be; null where it cannot be told. */
async function freeBytes(folder: string): Promise<number | null> {
  for (let path = folder; ; path = dirname(path)) {
    try {
      const { bavail, bsize } = await statfs(path)
      return bavail * bsize
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) return null
    }
  }
}

/** Certificates and keys that can be read and do not belong together: that listener would not start. */
async function listenerFaults({ mqtt }: Config): Promise<string[]> {
  const { readCertificates } = await import('../broker/listener-tls.ts')
  const { nameOf } = await import('../broker/listener-policy.ts')
  const faults: string[] = []
  for (const [index, listener] of mqtt.listeners.entries()) {
    const { tls } = listener
    const files = tls === null ? [] : [tls.cert, tls.key, ...(tls.ca === null ? [] : [tls.ca])]
    if (tls === null || !files.every(isReadable)) continue
    await readCertificates(tls, nameOf(listener, index)).catch((error) => faults.push(errorMessage(error)))
  }
  return faults
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}

/** Files that the configuration names and this user cannot read. The gateway may run elsewhere: no error. */
function unreadableFiles(config: Config): string[] {
  return namedFiles(config).flatMap(([key, path]) => {
    try {
      accessSync(path, constants.R_OK)
      return []
    } catch (error) {
      return [`${key}: ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`]
    }
  })
}

function namedFiles(config: Config): Array<readonly [key: string, path: string]> {
  const found: Array<readonly [string, string]> = []
  const visit = (value: unknown, key: string): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [name, inner] of Object.entries(value)) {
      const path = key === '' ? name : `${key}.${name}`
      const isFile = ['passwordFile', 'aclFile', 'cert', 'key', 'ca', 'file'].includes(name)
      if (isFile && typeof inner === 'string') found.push([path, inner])
      else visit(inner, path)
    }
  }
  visit({ mqtt: config.mqtt, sinks: config.sinks, admin: config.admin }, '')
  return found
}

function comment(text: string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '#' : `# ${line}`))
    .join('\n')
}
