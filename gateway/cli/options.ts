/** Options that several commands share. */
import { type Command, InvalidArgumentError } from 'commander'
import type { LoadedConfig } from '../config/load.ts'
import type { CliContext } from './context.ts'

export interface ConfigFlag {
  readonly config?: string
}

export function withConfig(command: Command): Command {
  return command.option('-c, --config <file>', 'configuration file (YAML)')
}

/** Loads what --config names; warnings go to standard error. @throws ConfigError */
export async function loadFlagged(flags: ConfigFlag, context: CliContext): Promise<LoadedConfig> {
  const { loadConfig } = await import('../config/load.ts')
  const loaded = loadConfig({ file: flags.config ?? null, env: context.env, cwd: context.cwd })
  for (const warning of loaded.warnings) context.stderr.write(`warning: ${warning}\n`)
  return loaded
}

export function wholeNumber(min: number, max: number): (input: string) => number {
  return (input) => {
    const value = Number(input)
    if (/^\d+$/.test(input) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`Wants a whole number from ${min} to ${max}.`)
  }
}
