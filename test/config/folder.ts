/** Configuration files for tests, in a folder that is removed afterwards. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type LoadedConfig, loadConfig } from '../../gateway/config/load.ts'
import { ConfigError, type Problem } from '../../gateway/config/problems.ts'
import { type Config, SCHEMA } from '../../gateway/configuration.ts'

export class ConfigFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'sluice-config-'))

  write(text: string | Uint8Array, name = 'sluice.yaml'): string {
    const file = join(this.path, name)
    writeFileSync(file, text)
    return file
  }

  load(text: string, env: Record<string, string> = {}): LoadedConfig<Config> {
    this.write(text)
    return loadConfig(SCHEMA, { file: 'sluice.yaml', env, cwd: this.path })
  }

  /** The problems of a configuration that has to be refused. */
  problems(text: string, env: Record<string, string> = {}): readonly Problem[] {
    try {
      this.load(text, env)
    } catch (error) {
      if (error instanceof ConfigError) return error.problems
      throw error
    }
    throw new Error(`this configuration was taken, but should be refused:\n${text}`)
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
