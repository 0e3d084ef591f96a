/**
 * Hands the command line what it needs of the process and of the gateway. Everything heavy is
 * imported when it is used, so that `sluice --help` is quick and a command line for a stopped box
 * does not load the broker.
 */
import { relative, resolve } from 'node:path'
import type { CliContext, ConfiguredGateway } from './cli/context.ts'
import { listenToSignals } from './cli/signals.ts'
import { StandardError, standardOutput } from './cli/text/output.ts'
import type { ConfigSource, LoadedConfig } from './config/load.ts'
import type { Config } from './configuration.ts'
import type { ConfigReport } from './ports/operator.ts'

import { VERSION } from './version.ts'

/** The context of this process. */
export function processContext(): CliContext {
  return {
    env: process.env,
    cwd: process.cwd(),
    version: VERSION,
    command: calledAs(process.argv[1] ?? ''),
    // Touching it opens the terminal: only for commands that ask for it.
    get stdin() {
      return process.stdin
    },
    stdout: standardOutput(),
    stderr: new StandardError(),
    load: configuredGateway,
    loadPlace,
    configSchema: async () => {
      const { jsonSchema } = await import('./config/keys/json-schema.ts')
      const { SCHEMA } = await import('./configuration.ts')
      return jsonSchema(SCHEMA.root, `Configuration of Sluice ${VERSION}`)
    },
    firstConfig: async (sinkType) => {
      const { describeKeys } = await import('./config/keys/describe.ts')
      const { firstConfig, sinkTypesIn } = await import('./config/keys/first-config.ts')
      const { SCHEMA } = await import('./configuration.ts')
      const { RECEIVERS } = await import('./sink/registry.ts')
      const rows = describeKeys(SCHEMA.root)
      const types = sinkTypesIn(rows)
      if (types.includes(sinkType)) return firstConfig(rows, sinkType)
      const known = RECEIVERS.get(sinkType)
      throw new Error(
        known === undefined
          ? `there is no type of sink ${sinkType}; there are ${types.join(', ')}`
          : `${sinkType} is a receiver, not a type of sink: ${known}`,
      )
    },
    checkBackup: async (path) => {
      const { pendingIn, readBackup } = await import('./spool/operations/backup.ts')
      const { head, entries } = await readBackup(path, () => undefined)
      return { pendingRecords: pendingIn(head), entries }
    },
    setPassword: async (path, user, password, role) => {
      const file = await import('./shared/passwords/password-file.ts')
      return file.setPassword(path, user, password, role)
    },
    removeUser: async (path, user) => {
      const file = await import('./shared/passwords/password-file.ts')
      return file.removeUser(path, user)
    },
    listenToSignals,
    exit: (code) => process.exit(code),
  }
}

/** @throws ConfigError */
export async function configuredGateway(source: ConfigSource): Promise<ConfiguredGateway> {
  const { loadConfig } = await import('./config/load.ts')
  const { SCHEMA } = await import('./configuration.ts')
  return configuredWith(loadConfig(SCHEMA, source), source)
}

async function loadPlace(source: ConfigSource): Promise<ConfiguredGateway> {
  const { loadSections } = await import('./config/load.ts')
  const { SCHEMA } = await import('./configuration.ts')
  const config = loadSections(SCHEMA.root, source, new Set(['gateway', 'admin']))
  return configuredWith({ config, warnings: [] }, source)
}

interface Loaded extends LoadedConfig<Config> {
  /** Sinks that are not asked when it is tried out. */
  readonly untried?: readonly string[]
}

/** What a command can do with a configuration; `source`: where it was read. */
async function configuredWith(
  { config, warnings, untried = [] }: Loaded,
  source: ConfigSource,
): Promise<ConfiguredGateway> {
  const { loadConfig } = await import('./config/load.ts')
  const { effectiveYaml } = await import('./config/print.ts')
  const { namedPaths, SCHEMA, sinkPromises } = await import('./configuration.ts')
  return {
    config,
    warnings,
    inForce: async (report) => {
      const loaded = await loadedInForce(report, config)
      return {
        configured: await configuredWith({ ...loaded, warnings }, source),
        untried: loaded.untried,
      }
    },
    yaml: () => effectiveYaml(SCHEMA.root, config),
    sinkPromises: () => sinkPromises(config),
    namedPaths: () => namedPaths(config, source.file),
    hostWarnings: async (pid = null) => {
      const { fitToHost, hostWarnings, readHostLimits } = await import('./host-limits.ts')
      const host = readHostLimits(pid)
      return hostWarnings(fitToHost(config, host), host)
    },
    findFaults: async () => {
      const { findFaults } = await import('./preflight.ts')
      return findFaults(config)
    },
    tryOut: async () => {
      const { tryOut } = await import('./preflight.ts')
      return tryOut(config, untried)
    },
    previewSink: async (trial) => {
      const { previewSink } = await import('./trials/sink-trial.ts')
      return previewSink(config, trial)
    },
    trySink: async (trial) => {
      const { trySink } = await import('./trials/sink-trial.ts')
      return trySink(config, trial)
    },
    tryAccess: async (trial) => {
      const { tryLogin } = await import('./broker/auth/login-trial.ts')
      return tryLogin(config.mqtt, trial)
    },
    sinkDdl: async (name) => {
      const { sinkDdl } = await import('./trials/sink-trial.ts')
      return sinkDdl(config, name)
    },
    start: async () => {
      const { startGateway } = await import('./gateway.ts')
      const path = source.file === null ? null : resolve(source.cwd, source.file)
      return startGateway(config, { path, load: () => loadConfig(SCHEMA, source) })
    },
    openOffline: async () => {
      const { openOffline } = await import('./offline.ts')
      return openOffline(config)
    },
    restoreBackup: async (path, replace) => {
      const { pendingIn, restoreBackup } = await import('./spool/operations/backup.ts')
      const { head, movedTo } = await restoreBackup(path, config.gateway.dataDir, replace)
      return { at: head.at, pendingRecords: pendingIn(head), movedTo }
    },
  }
}

/**
 * Made of what the gateway shows, with the secrets of `known`; where it cannot be, `known` itself. A
 * secret that is hidden, or whose key the file has changed, is not known to be the one in force.
 */
async function loadedInForce(
  { effective, plan }: ConfigReport,
  known: Config,
): Promise<{ readonly config: Config; readonly untried: readonly string[] }> {
  const { fromShown } = await import('./config/keys/from-shown.ts')
  const { HIDDEN } = await import('./config/print.ts')
  const { SCHEMA } = await import('./configuration.ts')
  const made = fromShown(SCHEMA.root, effective, known)
  if (made === null) return { config: known, untried: [] }
  const changed = plan.changes
    .filter(({ from }) => JSON.stringify(from).includes(HIDDEN))
    .map(({ key }) => key.split('.'))
  const names = [...made.hidden, ...changed]
    .filter(([section]) => section === 'sinks')
    .map(([, name]) => String(name))
  return { config: made.config, untried: [...new Set(names)] }
}

/** A link in a bin folder is on the PATH; the built file is not. */
function calledAs(script: string): string {
  if (!/\.c?js$/.test(script)) return 'sluice'
  // The module that sets the pool's threads, whichever of the two was started.
  const command = script.replace(/\bmain\.js$/, 'sluice.cjs')
  const path = relative(process.cwd(), command)
  return `node ${path.startsWith('..') ? command : path}`
}
