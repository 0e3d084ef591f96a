/**
 * `sluice start`: runs the gateway until a signal stops it. The first SIGTERM or SIGINT stops it in
 * order, within `gateway.stopTimeout`; a second one, or the deadline, ends it at once. Either way
 * nothing acknowledged is lost (I1). SIGHUP reloads the configuration, and reads the files again that
 * it names; other signals do nothing. A service manager is told when devices are served and when
 * that ends.
 */
import { Command } from 'commander'
import { PROBATION_MS } from '../../ports/operator.ts'
import { errorMessage } from '../../shared/errors.ts'
import type { CliConfig } from '../config.ts'
import type { CliContext, RunningGateway } from '../context.ts'
import { type Done, EXIT, type ExitCode } from '../exit.ts'
import { type ConfigFlag, configLine, loadWithWarnings, withConfig } from '../options.ts'
import { serviceManager } from '../service-manager.ts'
import { type Commands, firstSteps, shellWord } from '../text/first-steps.ts'
import { reloadText, writeWarnings } from '../text/reload-text.ts'

/** fsync, deflate, compaction and password hashing share libuv's pool. */
const MIN_POOL_THREADS = 8

/**
 * Ctrl-C under npm is two SIGINTs: one from the terminal, one passed on by npm. A person does not
 * press it twice so fast.
 */
const SAME_CTRL_C_MS = 400

interface StartFlags extends ConfigFlag {
  readonly hint: boolean
}

export function startCommand(context: CliContext, done: Done): Command {
  return withConfig(new Command('start'))
    .description('run the gateway')
    .option('--no-hint', 'do not print how to publish a first reading')
    .action(async (flags: StartFlags) => done(await start(flags, context)))
}

async function start(flags: StartFlags, context: CliContext): Promise<ExitCode> {
  const configured = await loadWithWarnings(flags, context)
  const { config } = configured
  context.stderr.neverWait?.()
  if (flags.config === undefined) context.stderr.write(`sluice: ${configLine(flags, context)}\n`)
  const advice = poolAdvice(context.env)
  if (advice !== null) context.stderr.write(`warning: ${advice}\n`)
  let current = (): CliConfig => config
  const signals = watchSignals(context, () => current().gateway.stopTimeout)
  const manager = serviceManager(context.env, (text) => context.stderr.write(`sluice: ${text}\n`))
  try {
    const gateway = await configured.start()
    current = () => gateway.config
    signals.onReload(async () => {
      const reloaded = manager.reloading()
      await reload(gateway, context).finally(reloaded)
    })
    manager.ready(`Serves devices as ${gateway.gatewayId}`, () => gateway.live())
    if (flags.hint && !signals.stopping)
      context.stderr.write(firstSteps(config, gateway, commandsOf(flags, context)))
    await signals.first
    manager.stopping()
    await stop(gateway, current(), context)
    return EXIT.ok
  } finally {
    signals.forget()
  }
}

/** As `sluice reload` does, and the files that the configuration names besides. */
async function reload(gateway: RunningGateway, { stderr }: CliContext): Promise<void> {
  const options = { dryRun: false, probationMs: PROBATION_MS }
  const outcome = await gateway.reload(options)
  stderr.write(`sluice: SIGHUP: ${reloadText(outcome, options)}`)
  writeWarnings(outcome.warnings, stderr)
  await gateway.reread()
}

/** For closing the spool and the log on a slow disk: what is cut off there makes an unclean stop. */
const CLOSE_MS = 5_000

/**
 * The last quarter of the deadline, at most {@link CLOSE_MS}, is for what follows when the stages
 * have stopped. It is taken from requests that have had the rest: one that is cut off is sent again
 * with the same bytes.
 */
async function stop(
  gateway: RunningGateway,
  { gateway: { stopTimeout } }: CliConfig,
  context: CliContext,
): Promise<void> {
  context.stderr.write('sluice: stopping; a second signal stops at once\n')
  await gateway.stop(stopTimeout - Math.min(CLOSE_MS, stopTimeout / 4))
}

/**
 * Only a checkout has npm's scripts; beside an installed `sluice` there is an installed
 * `sluice-sim`.
 */
function commandsOf({ config }: StartFlags, { command }: CliContext): Commands {
  return {
    status: `${command} status${config === undefined ? '' : ` --config ${shellWord(config)}`}`,
    cloud: command === 'sluice' ? 'sluice-sim cloud' : 'npm run cloud',
  }
}

interface Signals {
  /** Resolves at the first signal to stop. */
  readonly first: Promise<void>
  readonly stopping: boolean
  onReload(reload: () => Promise<void>): void
  forget(): void
}

function watchSignals(context: CliContext, stopTimeoutMs: () => number): Signals {
  const { promise, resolve } = withResolvers()
  let firstAtMs: number | null = null
  let deadline: NodeJS.Timeout | null = null
  const say = (text: string): void => void context.stderr.write(`sluice: ${text}\n`)
  let reload = async (): Promise<void> => say('SIGHUP: the gateway is starting')
  const atOnce = (why: string): void => {
    say(`stopped at once (${why}); the spool is intact`)
    context.exit(EXIT.failed)
  }
  const off = context.listenToSignals({
    stop: (signal) => {
      if (firstAtMs === null) {
        firstAtMs = performance.now()
        deadline = setTimeout(() => atOnce('gateway.stopTimeout is over'), stopTimeoutMs())
        resolve()
      } else if (signal !== 'SIGINT' || performance.now() - firstAtMs > SAME_CTRL_C_MS) {
        atOnce('second signal')
      }
    },
    reload: () => {
      reload().catch((error: unknown) => say(`SIGHUP: ${errorMessage(error)}`))
    },
    unused: (signal) => say(`${signal} does nothing here; SIGTERM stops, SIGHUP reloads`),
  })
  return {
    first: promise,
    get stopping() {
      return firstAtMs !== null
    },
    onReload: (doIt) => {
      reload = doIt
    },
    forget: () => {
      off()
      if (deadline !== null) clearTimeout(deadline)
    },
  }
}

/** Promise.withResolvers came with Node 22. */
function withResolvers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: () => void = () => undefined
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/**
 * Node reads UV_THREADPOOL_SIZE when the pool first works, and its ES module loader uses the pool
 * before our first line runs. So it cannot be set here: sluice.cts sets it for `sluice`, the unit
 * and the image for theirs.
 */
export function poolAdvice(env: NodeJS.ProcessEnv): string | null {
  // As libuv reads it: text that is no number counts as 1.
  const threads = Math.max(1, Number.parseInt(env['UV_THREADPOOL_SIZE'] ?? '4', 10) || 0)
  if (threads >= MIN_POOL_THREADS) return null
  return `fsync, compression and password hashing share ${threads} threads; set UV_THREADPOOL_SIZE=${MIN_POOL_THREADS} in the environment`
}
