/**
 * `sluice status`: how the gateway stands, for a person (or a script with --json), running or
 * stopped; with --watch again and again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Command } from 'commander'
import type { Status } from '../../ports/status.ts'
import { errorMessage } from '../../shared/errors.ts'
import { plainLine } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { type Done, EXIT } from '../exit.ts'
import { foundRunning, type OperatorFlags, withGateway, withOperator } from '../find-gateway.ts'
import { type Located, locateFlagged, wholeNumber } from '../options.ts'
import { Screen } from '../text/screen.ts'
import { statusText } from '../text/status-text.ts'

interface StatusFlags extends OperatorFlags {
  readonly json?: boolean
  /** Seconds; true: without a number. */
  readonly watch?: number | true
}

export function statusCommand(context: CliContext, done: Done): Command {
  return withOperator(new Command('status'))
    .description('show how the gateway stands, running or stopped')
    .option('--json', 'as JSON')
    .option(
      '-w, --watch [seconds]',
      'again and again, of a gateway that runs, until Ctrl-C; with --json a document a line',
      wholeNumber(1, 86_400),
    )
    .action(async (flags: StatusFlags) => {
      if (flags.watch !== undefined) await watch(flags, context)
      else {
        const status = await withGateway(flags, context, ({ operator }) => operator.status())
        context.stdout.write(
          flags.json === true ? `${JSON.stringify(status, null, 2)}\n` : statusText(status),
        )
      }
      done(EXIT.ok)
    })
}

const USUAL_WATCH_SECONDS = 2

/** A gateway that is gone is waited for: it may be restarting. */
async function watch(flags: StatusFlags, context: CliContext): Promise<void> {
  const { json, watch: every } = flags
  const located = await locateFlagged(flags, context)
  const pauseMs = 1_000 * (typeof every === 'number' ? every : USUAL_WATCH_SECONDS)
  const stop = new AbortController()
  const unlisten = context.listenToSignals({
    stop: () => stop.abort(),
    // The terminal was closed.
    reload: () => stop.abort(),
    unused: () => undefined,
  })
  const screen = new Screen(context.stdout, context.env)
  try {
    while (!stop.signal.aborted) {
      const status = await statusOrWhy(flags, located)
      if (json === true) context.stdout.write(`${JSON.stringify(status)}\n`)
      else screen.draw('why' in status ? `${status.at}: ${status.why}\n` : statusText(status))
      await sleep(pauseMs, undefined, { signal: stop.signal }).catch(() => undefined)
    }
  } finally {
    unlisten()
  }
}

interface NoStatus {
  readonly at: string
  readonly why: string
}

async function statusOrWhy(flags: StatusFlags, located: Located): Promise<Status | NoStatus> {
  const at = new Date().toISOString()
  try {
    const running = await foundRunning(flags, located)
    return (await running?.status()) ?? { at, why: 'no gateway runs here' }
  } catch (error) {
    return { at, why: plainLine(errorMessage(error)) }
  }
}
