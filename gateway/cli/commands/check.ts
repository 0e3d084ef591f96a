/**
 * `sluice check`: is the configuration good, what is in effect, how long an outage does it hold,
 * and would a gateway start with it? Starts nothing and writes nothing. Its output is YAML; what is
 * not configuration is in comments. What a start would refuse is on standard error, with exit code
 * 1. `--try` also takes the addresses for a moment and asks each sink.
 */
import { resolve } from 'node:path'
import { Command, Option } from 'commander'
import { ConfigError } from '../../config/problems.ts'
import { errorCode } from '../../shared/errors.ts'
import { bytes, hours, plain, table } from '../../shared/text/words.ts'
import type { CliConfig } from '../config.ts'
import { findConfig } from '../config-place.ts'
import type { CliContext, ConfiguredGateway, SinkWord, Trial } from '../context.ts'
import { CliError, type Done, EXIT, type ExitCode } from '../exit.ts'
import { runningGateway } from '../find-gateway.ts'
import { allWarnings, type ConfigFlag, configLine, loadFlagged, withConfig } from '../options.ts'
import {
  type DiskRoom,
  ENVELOPE_BYTES,
  MESSAGE_BYTES,
  outageCapacity,
  RATES_PER_SECOND,
  reservedBytes,
  type StreamCapacity,
} from '../text/capacity.ts'
import { withCode } from '../text/error-text.ts'
import { planText } from '../text/reload-text.ts'

export function checkCommand(context: CliContext, done: Done): Command {
  return withConfig(new Command('check'))
    .description(
      'validate the configuration, print what is in effect, and how long an outage it holds',
    )
    .option('--json', 'what was found, without what is in effect, as JSON')
    .addOption(
      new Option(
        '--against <what>',
        'also what its file would change in the gateway that runs, and how',
      ).choices(['running']),
    )
    .option('--try', 'also listen on the addresses for a moment, and ask each sink')
    .action(async (flags: CheckFlags) => done(await check(flags, context)))
}

interface CheckFlags extends ConfigFlag {
  readonly against?: 'running'
  readonly try?: boolean
  readonly json?: boolean
}

async function check(flags: CheckFlags, context: CliContext): Promise<ExitCode> {
  if (flags.json === true) return checkAsJson(flags, context)
  const configured = await loadFlagged(flags, context)
  const { config } = configured
  if (flags.config === undefined) context.stdout.write(`${comment(configLine(flags, context))}\n`)
  const { disk, warnings, faults, tried } = await look(configured, flags)
  context.stdout.write(`${configured.yaml()}\n${comment(capacityText(config, disk))}\n`)
  if (disk !== null) context.stdout.write(`${comment(diskText(config, disk))}\n`)
  context.stdout.write(`#\n${comment(promisesText(configured.sinkPromises()))}\n`)
  for (const warning of warnings) context.stderr.write(`warning: ${warning}\n`)
  if (flags.against !== undefined)
    context.stdout.write(`#\n${comment(await againstRunning(flags, context))}\n`)
  for (const line of tried) context.stdout.write(`${comment(plain(line))}\n`)
  for (const fault of faults) context.stderr.write(`fault: ${plain(withCode(fault))}\n`)
  return faults.length === 0 ? EXIT.ok : EXIT.failed
}

/** What the gateway that runs says of its own file, which must be the one that is checked. */
async function againstRunning(flags: CheckFlags, context: CliContext): Promise<string> {
  const { path, plan } = await (await runningGateway(flags, context)).config()
  const { file } = findConfig(flags.config, context.env, context.cwd)
  if (path !== (file === null ? null : resolve(context.cwd, file)))
    throw new CliError(
      EXIT.usage,
      `the gateway that runs has ${path ?? 'no configuration file'}: name that with --config`,
    )
  return plain(planText(plan))
}

/** A configuration that is refused is an answer here, not an error. */
async function checkAsJson(flags: CheckFlags, context: CliContext): Promise<ExitCode> {
  const { file } = findConfig(flags.config, context.env, context.cwd)
  const say = (answer: object): void => {
    context.stdout.write(`${JSON.stringify({ file, ...answer }, null, 2)}\n`)
  }
  let configured: ConfiguredGateway
  try {
    configured = await loadFlagged(flags, context)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    say({ problems: error.problems, warnings: [], faults: [] })
    return EXIT.usage
  }
  const { disk, warnings, faults, tried } = await look(configured, flags)
  say({
    problems: [],
    warnings,
    faults: faults.map((fault) => ({ code: errorCode(fault), message: fault.message })),
    tried,
    freeBytes: disk?.freeBytes ?? null,
    usedBytes: disk?.usedBytes ?? null,
    ratesPerSecond: RATES_PER_SECOND,
    outages: outageCapacity(configured.config, disk),
    sinks: configured.sinkPromises(),
    ...(flags.against === undefined
      ? {}
      : { running: (await (await runningGateway(flags, context)).config()).plan }),
  })
  return faults.length === 0 ? EXIT.ok : EXIT.failed
}

interface Look {
  /** null: it cannot be told. */
  readonly disk: DiskRoom | null
  readonly warnings: readonly string[]
  readonly faults: readonly Error[]
  /** What was tried and is well. */
  readonly tried: readonly string[]
}

async function look(configured: ConfiguredGateway, flags: CheckFlags): Promise<Look> {
  const { config } = configured
  const faults = await configured.findFaults()
  const trial =
    flags.try === true ? trialText(config, await configured.tryOut()) : { lines: [], faults: [] }
  return {
    ...(await allWarnings(configured)),
    faults: [...faults, ...trial.faults],
    tried: trial.lines,
  }
}

/** A sink that would not take batches; the gateway starts all the same. */
class SinkNotReadyError extends Error {
  override readonly name = 'SinkNotReadyError'
  readonly code = 'SINK_NOT_READY'
}

function trialText(
  { gateway: { dataDir } }: CliConfig,
  { ownerPid, addressFaults, folder, probes }: Trial,
): { readonly lines: readonly string[]; readonly faults: readonly Error[] } {
  const faults = [...addressFaults]
  const lines: string[] = []
  if (ownerPid !== null)
    lines.push(
      `addresses: not tried, process ${ownerPid} owns the data folder and may listen there`,
    )
  else if (faults.length === 0) lines.push('addresses: all of them are free')
  if (folder !== null && 'fault' in folder) faults.push(folder.fault)
  else if (folder !== null) lines.push(`data folder: ${dataDir} takes a file, fsync included`)
  for (const { sink, target, steps } of probes) {
    for (const { step, verdict, detail } of steps) {
      const line = `sink ${sink} (${target}), ${step}: `
      if (verdict === 'problem') faults.push(new SinkNotReadyError(`${line}${detail}`))
      else lines.push(`${line}${verdict === 'warning' ? 'warning: ' : ''}${detail}`)
    }
  }
  return { lines, faults }
}

function promisesText(sinks: readonly SinkWord[]): string {
  return sinks
    .map(({ name, target, promise: { delivery, by, ack } }) => {
      const said = ack === 'durable' ? 'is durable there' : `is ${ack} there`
      return plain(`sink ${name} (${target}): ${delivery} ${by}; what it acks ${said}`)
    })
    .join('\n')
}

function capacityText(config: CliConfig, disk: DiskRoom | null): string {
  const capacity = outageCapacity(config, disk)
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

function diskText(config: CliConfig, { freeBytes, usedBytes }: DiskRoom): string {
  const held = usedBytes === 0 ? '' : `, and the data folder holds ${bytes(usedBytes)}`
  return `Streams and dead letters may take ${bytes(reservedBytes(config))}; ${bytes(freeBytes)} of disk are free${held}.`
}

function comment(text: string): string {
  return text
    .split('\n')
    .map((line) => (line === '' ? '#' : `# ${line}`))
    .join('\n')
}
