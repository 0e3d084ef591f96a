/**
 * What commands need of the outside, and the one place where they are wired to the gateway.
 * Everything heavy is imported when it is used, so that `sluice --help` is quick and a command line
 * for a stopped box does not load the broker.
 */
import { relative } from 'node:path'
import type { Config } from '../configuration.ts'
import type { OfflineOperator } from '../ports/operator.ts'
import type { BackupHead, Restored } from '../spool/operations/backup.ts'
import { listenToSignals, type SignalListener } from './signals.ts'
import { type Output, StandardError, standardOutput } from './text/output.ts'

export interface RunningGateway {
  /** Where devices connect, as bound. */
  readonly addresses: ReadonlyArray<{ readonly host: string; readonly port: number }>
  readonly adminUrl: string
  readonly gatewayId: string
  /**
   * Reads anew what the configuration names: passwords, access rules, certificates, secrets of
   * sinks.
   */
  reread(): Promise<void>
  stop(deadlineMs: number): Promise<void>
}

export interface CliContext {
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** How this program was called, for advice: `sluice`, `node dist/gateway/main.js`. */
  readonly command: string
  readonly stdin: NodeJS.ReadStream
  readonly stdout: Output
  readonly stderr: Output
  startGateway(config: Config): Promise<RunningGateway>
  /** What a start would refuse, and what would keep it from delivering. Changes nothing. */
  findFaults(config: Config): Promise<Error[]>
  /** Takes the addresses for a moment and asks each sink: what was found, and what is wrong. */
  tryOut(
    config: Config,
  ): Promise<{ readonly lines: readonly string[]; readonly faults: readonly Error[] }>
  openOffline(config: Config): Promise<OfflineOperator>
  /** Reads a backup to its end. @throws if it is not whole */
  checkBackup(path: string): Promise<{ readonly head: BackupHead; readonly entries: number }>
  restoreBackup(path: string, dataDir: string, replace: boolean): Promise<Restored>
  setPassword(path: string, user: string, password: string): Promise<'added' | 'changed'>
  removeUser(path: string, user: string): Promise<boolean>
  /** Until the returned function is called. */
  listenToSignals(listener: SignalListener): () => void
  /** Ends the process now, whatever is open. */
  exit(code: number): void
}

/** The context of this process. */
export function processContext(): CliContext {
  return {
    env: process.env,
    cwd: process.cwd(),
    command: calledAs(process.argv[1] ?? ''),
    // Reading it opens the terminal: only for who asks for it.
    get stdin() {
      return process.stdin
    },
    stdout: standardOutput(),
    stderr: new StandardError(),
    startGateway: async (config) => {
      const { startGateway } = await import('../gateway.ts')
      return startGateway(config)
    },
    findFaults: async (config) => {
      const { findFaults } = await import('../preflight.ts')
      return findFaults(config)
    },
    tryOut: async (config) => {
      const { tryOut } = await import('../preflight.ts')
      return tryOut(config)
    },
    openOffline: async (config) => {
      const { openOffline } = await import('../offline.ts')
      return openOffline(config)
    },
    checkBackup: async (path) => {
      const { readBackup } = await import('../spool/operations/backup.ts')
      return readBackup(path, () => undefined)
    },
    restoreBackup: async (path, dataDir, replace) => {
      const { restoreBackup } = await import('../spool/operations/backup.ts')
      return restoreBackup(path, dataDir, replace)
    },
    setPassword: async (path, user, password) => {
      const file = await import('../broker/auth/password-file.ts')
      return file.setPassword(path, user, password)
    },
    removeUser: async (path, user) => {
      const file = await import('../broker/auth/password-file.ts')
      return file.removeUser(path, user)
    },
    listenToSignals,
    exit: (code) => process.exit(code),
  }
}

/** A link in a bin folder is on the PATH; the built file is not. */
function calledAs(script: string): string {
  if (!/\.c?js$/.test(script)) return 'sluice'
  // The module that sets the pool's threads, whichever was started.
  const command = script.replace(/\bmain\.js$/, 'sluice.cjs')
  const path = relative(process.cwd(), command)
  return `node ${path.startsWith('..') ? command : path}`
}
