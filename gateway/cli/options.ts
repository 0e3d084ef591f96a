/** Options that several commands share. */
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { ConfigError } from '../config/problems.ts'
import { findConfig } from './config-place.ts'
import type { CliContext, ConfiguredGateway } from './context.ts'
import { fileSystemOf } from './doctor/file-system.ts'
import { type DiskRoom, roomWarnings } from './text/capacity.ts'

export interface ConfigFlag {
  readonly config?: string
}

export function withConfig(command: Command): Command {
  return command.option(
    '-c, --config <file>',
    'configuration file (YAML); else SLUICE_CONFIG, ./sluice.yaml, /etc/sluice/sluice.yaml',
  )
}

/** Loads what --config names, or what is at a default place. @throws ConfigError */
export async function loadFlagged(
  flags: ConfigFlag,
  context: CliContext,
): Promise<ConfiguredGateway> {
  const { file } = findConfig(flags.config, context.env, context.cwd)
  return context.load({ file, env: context.env, cwd: context.cwd })
}

export interface Located {
  /** Whole, or beside a refusal what finds a gateway that runs ({@link CliContext.loadPlace}). */
  readonly configured: ConfiguredGateway
  readonly refusal: Refusal | null
}

interface Refusal {
  readonly error: ConfigError
  /** Absolute; null: it is the environment that is refused. */
  readonly file: string | null
}

/**
 * For commands that a gateway which runs can answer: it goes on with what it has while its file is
 * refused, and that is when it is asked.
 */
export async function locateFlagged(flags: ConfigFlag, context: CliContext): Promise<Located> {
  try {
    return { configured: await loadFlagged(flags, context), refusal: null }
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const { env, cwd } = context
    const { file } = findConfig(flags.config, env, cwd)
    const configured = await context.loadPlace({ file, env, cwd })
    return { configured, refusal: { error, file: file === null ? null : resolve(cwd, file) } }
  }
}

/**
 * For commands that start or check the gateway. Those that only ask it something need not repeat
 * the warnings of its start.
 */
export async function loadWithWarnings(
  flags: ConfigFlag,
  context: CliContext,
): Promise<ConfiguredGateway> {
  const loaded = await loadFlagged(flags, context)
  for (const warning of loaded.warnings) context.stderr.write(`warning: ${warning}\n`)
  return loaded
}

/** All that `sluice check` warns of: of the configuration, of this host, of the room on its disk. */
export async function allWarnings(configured: ConfiguredGateway): Promise<{
  /** null: it cannot be told. */
  readonly disk: DiskRoom | null
  readonly warnings: readonly string[]
}> {
  const { config, warnings } = configured
  const disk = await fileSystemOf(config.gateway.dataDir)
  const host = (await configured.hostWarnings()).map(({ text }) => text)
  const room = disk === null ? [] : roomWarnings(config, disk)
  return { disk, warnings: [...warnings, ...host, ...room] }
}

/** One line that says which configuration is in effect. */
export function configLine(flags: ConfigFlag, context: CliContext): string {
  const { file, why } = findConfig(flags.config, context.env, context.cwd)
  return file === null ? `configuration: the defaults (${why})` : `configuration: ${file} (${why})`
}

export function wholeNumber(min: number, max: number): (input: string) => number {
  return (input) => {
    const value = Number(input)
    if (/^\d+$/.test(input) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`Wants a whole number from ${min} to ${max}.`)
  }
}
