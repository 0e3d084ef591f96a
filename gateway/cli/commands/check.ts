/**
 * `sluice check`: is the configuration good, what is in effect, how long an outage does it hold,
 * and would a gateway start with it? Starts nothing and writes nothing. Its output is YAML; what is
 * not configuration is in comments. What a start would refuse is on standard error, with exit code
 * 1. `--try` also takes the addresses for a moment and asks each sink.
 */
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Command } from 'commander'
import type { CliConfig } from '../config.ts'
import type { CliContext, SinkWord } from '../context.ts'
import { type Done, EXIT, type ExitCode } from '../exit.ts'
import { type ConfigFlag, configLine, loadWithWarnings, withConfig } from '../options.ts'
import {
  ENVELOPE_BYTES,
  MESSAGE_BYTES,
  outageCapacity,
  RATES_PER_SECOND,
  reservedBytes,
  type StreamCapacity,
} from '../text/capacity.ts'
import { bytes, hours, plain, table, withCode } from '../text/words.ts'

export function checkCommand(context: CliContext, done: Done): Command {
  return withConfig(new Command('check'))
    .description(
      'validate the configuration, print what is in effect, and how long an outage it holds',
    )
    .option('--try', 'also listen on the addresses for a moment, and ask each sink')
    .action(async (flags: CheckFlags) => done(await check(flags, context)))
}

interface CheckFlags extends ConfigFlag {
  readonly try?: boolean
}

async function check(flags: CheckFlags, context: CliContext): Promise<ExitCode> {
  const configured = await loadWithWarnings(flags, context)
  const { config } = configured
  if (flags.config === undefined) context.stdout.write(`${comment(configLine(flags, context))}\n`)
  const free = await freeBytes(config.gateway.dataDir)
  context.stdout.write(`${configured.yaml()}\n${comment(capacityText(config, free))}\n`)
  if (free !== null) context.stdout.write(`${comment(diskText(config, free))}\n`)
  context.stdout.write(`#\n${comment(promisesText(configured.sinkPromises()))}\n`)
  const warnings = [
    ...(await configured.hostWarnings()),
    ...(free === null ? [] : diskWarnings(config, free)),
  ]
  for (const warning of warnings) context.stderr.write(`warning: ${warning}\n`)
  const faults = await configured.findFaults()
  if (flags.try === true) {
    const { lines, faults: more } = await configured.tryOut()
    for (const line of lines) context.stdout.write(`${comment(plain(line))}\n`)
    faults.push(...more)
  }
  for (const fault of faults) context.stderr.write(`fault: ${plain(withCode(fault))}\n`)
  return faults.length === 0 ? EXIT.ok : EXIT.failed
}

function promisesText(sinks: readonly SinkWord[]): string {
  return sinks
    .map(({ name, target, promise: { delivery, by, ack } }) => {
      const said = ack === 'durable' ? 'is durable there' : `is ${ack} there`
      return plain(`sink ${name} (${target}): ${delivery} ${by}; what it acks ${said}`)
    })
    .join('\n')
}

function capacityText(config: CliConfig, free: number | null): string {
  const capacity = outageCapacity(config, free)
  const header = ['stream', ...RATES_PER_SECOND.map((rate) => `${rate} msg/s`)]
  const rows = capacity.map((row) => [row.stream, ...row.hours.map(hours)])
  return [
    `An outage of the sink that each stream holds, at messages of ${MESSAGE_BYTES} bytes:`,
    '',
    table([header, ...rows]),
    '',
    `Assumed: ${ENVELOPE_BYTES} bytes of envelope; blocks of five records and more compress to half (measured 0.25 to`,
    '0.48), smaller ones not at all. Several streams at once share the disk.',
    ...capacity.filter(({ limitedByAge }) => limitedByAge).map(ageText),
    ...capacity.filter(({ limitedByDisk }) => limitedByDisk).map(diskLimitText),
  ].join('\n')
}

function ageText({ stream }: StreamCapacity): string {
  return `${stream}: maxAge drops records before maxBytes is reached.`
}

function diskLimitText({ stream }: StreamCapacity): string {
  return `${stream}: the free disk, less spool.minFreeBytes, is used up before maxBytes is reached.`
}

function diskText(config: CliConfig, free: number): string {
  return `Streams and dead letters may take ${bytes(reservedBytes(config))}; ${bytes(free)} of disk are free.`
}

function diskWarnings(config: CliConfig, free: number): string[] {
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

function comment(text: string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '#' : `# ${line}`))
    .join('\n')
}
