/**
 * `sluice access`: could this device log in, and publish and subscribe there? By the files as they
 * are; no gateway is asked and nothing is changed.
 */
import { Command } from 'commander'
import { plain } from '../../shared/text/words.ts'
import type { CliContext, ListenerAccess } from '../context.ts'
import { CliError, type Done, EXIT } from '../exit.ts'
import { type ConfigFlag, loadFlagged, withConfig } from '../options.ts'
import { readPassword } from '../password-input.ts'

interface AccessFlags extends ConfigFlag {
  readonly clientId?: string
  readonly password?: boolean
  readonly publish?: readonly string[]
  readonly subscribe?: readonly string[]
  readonly json?: boolean
}

export function accessCommand(context: CliContext, done: Done): Command {
  return withConfig(new Command('access'))
    .description('say whether a user could log in, publish and subscribe, and which rule decides')
    .argument('[user]', 'its user name, or the name in its certificate (default: none)')
    .option('-i, --client-id <id>', 'its client id, which %c stands for (default: the user name)')
    .option('-p, --password', 'try its password, too, which is read from standard input')
    .option('--publish <topic...>', 'topics that it publishes to')
    .option('--subscribe <filter...>', 'filters that it subscribes to')
    .option('--json', 'the verdicts as JSON')
    .action(async (user: string | undefined, flags: AccessFlags) => {
      const { clientId = user ?? '', publish = [], subscribe = [] } = flags
      if (flags.password === true && user === undefined)
        throw new CliError(EXIT.usage, 'a password belongs to a user: name one')
      const configured = await loadFlagged(flags, context)
      const password = flags.password === true ? await readPassword(context) : null
      const listeners = await configured.tryAccess({
        user: user ?? null,
        password: password === null ? null : Buffer.from(password),
        clientId,
        publish,
        subscribe,
      })
      const refused = listeners.some(
        ({ login, topics }) => !login.allowed || topics.some(({ allowed }) => !allowed),
      )
      context.stdout.write(
        flags.json === true
          ? `${JSON.stringify({ user: user ?? null, clientId, listeners }, null, 2)}\n`
          : plain(listeners.map(textOf).join('\n')),
      )
      done(refused ? EXIT.failed : EXIT.ok)
    })
}

function textOf({ listener, login, topics }: ListenerAccess): string {
  const word = (allowed: boolean): string => (allowed ? 'yes' : 'no ')
  const lines = topics.map(
    ({ action, topic, allowed, why }) => `  ${word(allowed)}  ${action} ${topic}: ${why}`,
  )
  return [listener, `  ${word(login.allowed)}  log in: ${login.why}`, ...lines, ''].join('\n')
}
