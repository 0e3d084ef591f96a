/**
 * `sluice passwd`: adds a user to the password file of devices, or with `--role` to the one of the
 * console; changes a password, removes a user. The
 * password is asked for without echo, or read from standard input; never from the command line,
 * where every user of the machine could see it.
 */
import { resolve } from 'node:path'
import { Command, Option } from 'commander'
import { plainLine } from '../../shared/text/words.ts'
import type { CliContext } from '../context.ts'
import { CliError, type Done, EXIT } from '../exit.ts'
import { type ConfigFlag, loadFlagged, withConfig } from '../options.ts'
import { readPassword } from '../password-input.ts'

type Role = 'viewer' | 'operator'

interface PasswdFlags extends ConfigFlag {
  readonly file?: string
  readonly remove?: boolean
  readonly role?: Role
}

export function passwdCommand(context: CliContext, done: Done): Command {
  return withConfig(new Command('passwd'))
    .description(
      'add a user, change a password, or remove a user; the password is read from standard input',
    )
    .argument('<user>', 'name of the user')
    .option(
      '-f, --file <file>',
      "the password file (default: the configuration's mqtt.auth.passwordFile, or admin.usersFile)",
    )
    .option('-r, --remove', 'remove the user')
    .addOption(
      new Option(
        '--role <role>',
        'what the user may in the console; the file is then admin.usersFile',
      ).choices(['viewer', 'operator']),
    )
    .action(async (user: string, flags: PasswdFlags) => {
      await passwd(user, flags, context)
      done(EXIT.ok)
    })
}

async function passwd(user: string, flags: PasswdFlags, context: CliContext): Promise<void> {
  const file = await passwordFile(flags, context)
  const shown = `${plainLine(user)} in ${file}`
  if (flags.remove === true) {
    if (!(await context.removeUser(file, user)))
      throw new CliError(EXIT.failed, `there is no user ${shown}`)
    context.stdout.write(`removed ${shown}\n`)
    return
  }
  const password = await readPassword(context)
  const outcome = await context.setPassword(file, user, password, flags.role ?? null)
  context.stdout.write(`${outcome} ${shown}\n`)
}

async function passwordFile(flags: PasswdFlags, context: CliContext): Promise<string> {
  if (flags.file !== undefined) return resolve(context.cwd, flags.file)
  const { config } = await loadFlagged(flags, context)
  if (flags.role !== undefined) {
    const { usersFile } = config.admin
    if (usersFile !== null) return usersFile
    throw new CliError(
      EXIT.usage,
      'name the file of those who may use the console: --file FILE, or --config with admin.usersFile',
    )
  }
  const files = [config.mqtt.auth, ...config.mqtt.listeners.map(({ auth }) => auth ?? null)]
    .map((auth) => auth?.passwordFile ?? null)
    .filter((path) => path !== null)
  const [file, ...others] = new Set(files)
  if (file === undefined)
    throw new CliError(
      EXIT.usage,
      'name the password file: --file FILE, or --config with mqtt.auth.passwordFile',
    )
  if (others.length > 0)
    throw new CliError(
      EXIT.usage,
      `the listeners use several password files; name one: --file ${file}`,
    )
  return file
}
