/** Whole configurations for tests, made of the real schema: a new key needs no test to know it. */
import { loadConfig } from '../../gateway/config/load.ts'
import { type Config, SCHEMA } from '../../gateway/configuration.ts'

/** The configuration of a gateway that was told nothing, in a folder. */
export function defaultConfig(cwd: string): Config {
  return loadConfig(SCHEMA, { file: null, env: {}, cwd }).config
}
