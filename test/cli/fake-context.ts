/**
 * A command line without a process: output is kept, signals are sent by hand, the gateway is
 * whatever the test says.
 */
import { PassThrough } from 'node:stream'
import type { CliContext, ConfiguredGateway, RunningGateway } from '../../gateway/cli/context.ts'
import type { SignalListener } from '../../gateway/cli/signals.ts'
import { configuredGateway } from '../../gateway/command-line.ts'
import { type ConfigSource, loadConfig } from '../../gateway/config/load.ts'
import { type Config, SCHEMA } from '../../gateway/configuration.ts'
import type { OfflineOperator } from '../../gateway/ports/operator.ts'

export class FakeContext implements CliContext {
  readonly env: NodeJS.ProcessEnv = { UV_THREADPOOL_SIZE: '8' }
  readonly cwd: string
  readonly version = '0.0.0'
  readonly command = 'sluice'
  readonly stdin = new PassThrough() as unknown as NodeJS.ReadStream
  out = ''
  err = ''
  readonly exits: number[] = []
  readonly listeners = new Set<SignalListener>()
  gateway: (config: Config) => Promise<RunningGateway> = () =>
    Promise.reject(new Error('no gateway here'))
  offline: (config: Config) => Promise<OfflineOperator> = () =>
    Promise.reject(new Error('no folder here'))

  constructor(cwd: string) {
    this.cwd = cwd
  }

  readonly stdout = { write: (text: string) => void (this.out += text) }
  readonly stderr = { write: (text: string) => void (this.err += text) }

  async load(source: ConfigSource): Promise<ConfiguredGateway> {
    const { config } = loadConfig(SCHEMA, source)
    return {
      ...(await configuredGateway(source)),
      findFaults: async () => [],
      tryOut: async () => ({ ownerPid: null, addressFaults: [], folder: null, probes: [] }),
      start: () => this.gateway(config),
      openOffline: () => this.offline(config),
    }
  }

  async loadPlace(): Promise<never> {
    throw new Error('not here')
  }

  async configSchema(): Promise<never> {
    throw new Error('not here')
  }

  async firstConfig(): Promise<never> {
    throw new Error('not here')
  }

  async checkBackup(): Promise<never> {
    throw new Error('not here')
  }

  async setPassword(): Promise<'added' | 'changed'> {
    throw new Error('not here')
  }

  async removeUser(): Promise<boolean> {
    throw new Error('not here')
  }

  listenToSignals(listener: SignalListener): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  exit(code: number): void {
    this.exits.push(code)
  }

  signal(name: string): void {
    for (const listener of this.listeners) {
      if (name === 'SIGHUP') listener.reload()
      else if (name.startsWith('SIGUSR')) listener.unused(name)
      else listener.stop(name)
    }
  }
}
