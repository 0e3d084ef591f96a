/**
 * Where a command finds the gateway: the running one through its admin server, or the folder of one
 * that is stopped.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import {
  ADMIN_SOCKET,
  type OfflineOperator,
  type Operator,
  type RunningOperator,
} from '../ports/operator.ts'
import type { Status } from '../ports/status.ts'
import { errorCode, errorMessage } from '../shared/errors.ts'
import { hostAndPort } from '../shared/hosts.ts'
import { readSecret, type Secret } from '../shared/secret-file.ts'
import type { AdminPlace, CliConfig } from './config.ts'
import type { CliContext, ConfiguredGateway } from './context.ts'
import { CliError, EXIT } from './exit.ts'
import { HttpOperator, NotRunningError } from './http-operator.ts'
import { type ConfigFlag, type Located, loadFlagged, locateFlagged, withConfig } from './options.ts'

export interface OperatorFlags extends ConfigFlag {
  readonly url?: string
}

export function withOperator(command: Command): Command {
  return withConfig(command).addOption(
    new Option(
      '--url <url>',
      "address of the gateway's admin server (default: from the configuration)",
    ).argParser((input) => {
      if (!URL.canParse(input) || !/^https?:$/.test(new URL(input).protocol))
        throw new CliError(EXIT.usage, `--url wants http://host:port, got ${JSON.stringify(input)}`)
      return input
    }),
  )
}

export interface Found {
  readonly kind: 'running' | 'stopped'
  readonly operator: Operator
}

/** Finds the gateway, lets `work` have it, and gives the folder of a stopped one back. */
export async function withGateway<T>(
  flags: OperatorFlags,
  context: CliContext,
  work: (found: Found) => Promise<T>,
): Promise<T> {
  const located = await locateFlagged(flags, context)
  const { configured, refusal } = located
  if (refusal !== null)
    return work({ kind: 'running', operator: await runningAllTheSame(flags, located, context) })
  const { config } = configured
  const local = await localOperator(flags, config)
  if (local !== null) return work({ kind: 'running', operator: local })
  const client = await httpOperator(flags, config)
  const offline = (operator: Operator) => work({ kind: 'stopped', operator })
  if (client === null) return withOffline(configured, null, offline)
  try {
    await client.status()
  } catch (error) {
    if (!(error instanceof NotRunningError)) throw error
    if (flags.url !== undefined) throw new CliError(EXIT.failed, error.message, error)
    return withOffline(configured, client.url, offline)
  }
  return work({ kind: 'running', operator: client })
}

/** The gateway that runs while its configuration is refused. @throws the refusal: none is found */
async function runningAllTheSame(
  flags: OperatorFlags,
  located: Located,
  context: CliContext,
): Promise<HttpOperator> {
  const running = await foundRunning(flags, located)
  if (running === null) throw located.refusal?.error ?? new Error('no gateway runs here')
  context.stderr.write(
    'warning: the configuration is refused, sluice check says why; this is the gateway that runs with an earlier one\n',
  )
  return running
}

/**
 * The gateway that runs; null: none is found. Where the file is refused it must be the gateway of
 * that file, or named by `--url`: the place may be a default, and another gateway there.
 * @throws if `--url` names none
 */
export async function foundRunning(
  flags: OperatorFlags,
  { configured, refusal }: Located,
): Promise<HttpOperator | null> {
  if (refusal === null || flags.url !== undefined) return findRunning(flags, configured.config)
  try {
    const found = await findRunning(flags, configured.config)
    const path = (await found?.config())?.path ?? null
    return path !== null && path === refusal.file ? found : null
  } catch {
    // Whatever answers there, that the file is refused is what has to be told.
    return null
  }
}

async function findRunning(flags: OperatorFlags, config: CliConfig): Promise<HttpOperator | null> {
  const local = await localOperator(flags, config)
  if (local !== null) return local
  const client = await httpOperator(flags, config)
  try {
    await client?.status()
    return client
  } catch (error) {
    if (error instanceof NotRunningError && flags.url === undefined) return null
    throw error
  }
}

/** Of a gateway that does not run, read from its folder. */
export function offlineStatus(configured: ConfiguredGateway): Promise<Status> {
  return withOffline(configured, null, (stopped) => stopped.status())
}

/** The running gateway, for what only that can do. */
export async function runningGateway(
  flags: OperatorFlags,
  context: CliContext,
): Promise<RunningOperator> {
  const located = await locateFlagged(flags, context)
  if (located.refusal !== null) return runningAllTheSame(flags, located, context)
  const { config } = located.configured
  const local = await localOperator(flags, config)
  if (local !== null) return local
  const client = await httpOperator(flags, config)
  if (client === null)
    throw new CliError(EXIT.usage, 'admin.port is 0: name the address of the gateway with --url')
  return client
}

/** The folder of a gateway that must not run. */
export async function withStoppedGateway<T>(
  flags: ConfigFlag,
  context: CliContext,
  work: (spool: OfflineOperator) => Promise<T>,
): Promise<T> {
  return withOffline(await loadFlagged(flags, context), null, work)
}

async function withOffline<T>(
  configured: ConfiguredGateway,
  triedUrl: string | null,
  work: (spool: OfflineOperator) => Promise<T>,
): Promise<T> {
  const { dataDir } = configured.config.gateway
  const tried = triedUrl === null ? '' : `nothing listens on ${triedUrl}, and `
  // Opening would create it.
  if (!existsSync(dataDir))
    throw new CliError(
      EXIT.failed,
      `${tried}there is no data folder ${dataDir}; name the configuration with --config`,
    )
  let spool: OfflineOperator
  try {
    spool = await configured.openOffline()
  } catch (error) {
    if (errorCode(error) === 'SLUICE_FOLDER_IN_USE')
      throw new CliError(EXIT.failed, inUse(error, tried), error)
    const why = errorMessage(error)
    throw new CliError(EXIT.failed, `${tried}${dataDir} cannot be opened: ${why}`, error)
  }
  try {
    return await work(spool)
  } finally {
    await spool.close()
  }
}

/** A command that only looks, or changes something, must not tell its user to end what runs. */
function inUse(error: unknown, tried: string): string {
  const [who = '', ...gateway] = errorMessage(error).split(/: stop (?:that one|it there) first/)
  if (gateway.length === 0) return `${tried}${who}`
  return `${tried}${who}: a gateway runs there. Name its admin server with --url, or its configuration with --config; a command that needs a stopped gateway works once it is stopped`
}

/**
 * The socket in the data folder: it needs no address and no token, only the rights of the gateway's
 * user. null: nobody listens there, or this user may not.
 */
async function localOperator(
  { url }: OperatorFlags,
  { gateway }: CliConfig,
): Promise<HttpOperator | null> {
  const path = join(gateway.dataDir, ADMIN_SOCKET)
  if (url !== undefined || !existsSync(path)) return null
  const client = new HttpOperator('http://localhost', null, path)
  try {
    await client.status()
    return client
  } catch {
    return null
  }
}

async function httpOperator(
  { url }: OperatorFlags,
  { admin }: CliConfig,
): Promise<HttpOperator | null> {
  const address = url ?? adminUrl(admin)
  return address === null ? null : new HttpOperator(address, await readToken(admin.token))
}

/** Where the admin server of this configuration answers; null if its port was left to chance. */
export function adminUrl({ host, port }: AdminPlace): string | null {
  if (port === 0) return null
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${hostAndPort(reachable, port)}`
}

async function readToken(secret: Secret | null): Promise<string | null> {
  if (secret === null) return null
  try {
    return await readSecret(secret)
  } catch (error) {
    const file = 'file' in secret ? secret.file : ''
    const code = errorCode(error) ?? 'unknown error'
    throw new CliError(EXIT.failed, `admin.token: ${file} cannot be read (${code})`, error)
  }
}
