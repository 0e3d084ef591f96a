/** Options that several commands share. */
import { type Command, InvalidArgumentError } from 'commander'
import type { LoadedConfig } from '../config/load.ts'
import type { Config } from '../configuration.ts'
import { findConfig } from './config-place.ts'
import type { CliContext } from './context.ts'

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
): Promise<LoadedConfig<Config>> {
  const { loadConfig } = await import('../config/load.ts')
  const { SCHEMA } = await import('../configuration.ts')
  const { file } = findConfig(flags.config, context.env, context.cwd)
  return loadConfig(SCHEMA, { file, env: context.env, cwd: context.cwd })
}

/**
 * For who starts or checks the gateway: whoever only asks it something has read its warnings then.
 */
export async function loadWithWarnings(
  flags: ConfigFlag,
  context: CliContext,
): Promise<LoadedConfig<Config>> {
  const loaded = await loadFlagged(flags, context)
  for (const warning of loaded.warnings) context.stderr.write(`warning: ${warning}\n`)
  return loaded
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
