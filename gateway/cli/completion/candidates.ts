/** What could stand where the cursor is, read from the commands themselves. Pure. */
import type { Argument, Command, Option } from 'commander'

/** A word, or a kind of word that the caller knows more about. */
export type Candidates =
  | { readonly kind: 'words'; readonly words: readonly Candidate[] }
  | { readonly kind: 'files' | 'streams' | 'sinks' | 'none' }

interface Candidate {
  readonly word: string
  readonly description: string
}

/**
 * `words`: those behind the program's name, up to the cursor; the last, which may be empty, is the
 * one to complete. Its beginning is not matched here: a shell does that in its own way.
 */
export function candidates(program: Command, words: readonly string[]): Candidates {
  const typed = words.at(-1) ?? ''
  const { command, option, operands, isOperandsOnly } = walk(program, words.slice(0, -1))
  if (option !== null) return meaningOf(command, option, option.argChoices)
  if (typed.startsWith('-') && !isOperandsOnly) return optionsOf(command)
  if (operands === 0 && command.commands.length > 0) return commandsOf(command)
  const last = command.registeredArguments.at(-1)
  const argument = command.registeredArguments[operands] ?? (last?.variadic === true ? last : null)
  return argument === null ? { kind: 'none' } : meaningOf(command, argument, argument.argChoices)
}

interface Place {
  readonly command: Command
  /** Whose value comes next. */
  readonly option: Option | null
  readonly operands: number
  /** Behind `--`. */
  readonly isOperandsOnly: boolean
}

function walk(program: Command, words: readonly string[]): Place {
  let place: Place = { command: program, option: null, operands: 0, isOperandsOnly: false }
  for (const word of words) place = step(place, word)
  return place
}

function step(place: Place, word: string): Place {
  const { command, option, operands, isOperandsOnly } = place
  if (option !== null) return { ...place, option: null }
  if (!isOperandsOnly && word === '--') return { ...place, isOperandsOnly: true }
  if (!isOperandsOnly && word.startsWith('-')) {
    const found = command.options.find(({ short, long }) => word === short || word === long)
    return { ...place, option: found?.required === true ? found : null }
  }
  const sub = operands === 0 ? command.commands.find((one) => one.name() === word) : undefined
  return sub === undefined ? { ...place, operands: operands + 1 } : { ...place, command: sub }
}

function optionsOf(command: Command): Candidates {
  const own = command.createHelp().visibleOptions(command)
  const words = own.flatMap(({ long, description }) =>
    long === undefined || long === null ? [] : [{ word: long, description }],
  )
  return { kind: 'words', words }
}

function commandsOf(command: Command): Candidates {
  const words = command
    .createHelp()
    .visibleCommands(command)
    .map((one) => ({ word: one.name(), description: one.description() }))
  return { kind: 'words', words }
}

/** By its choices, or by the name that its value has in the usage. */
function meaningOf(
  command: Command,
  value: Option | Argument,
  choices: readonly string[] | undefined,
): Candidates {
  if (choices !== undefined)
    return { kind: 'words', words: choices.map((word) => ({ word, description: '' })) }
  const isOption = 'long' in value
  const placeholder = isOption ? /<([^>]+)>/.exec(value.flags)?.[1] : value.name()
  if (placeholder === 'file') return { kind: 'files' }
  if (isOption && value.long === '--stream') return { kind: 'streams' }
  if (placeholder === 'sink') return { kind: 'sinks' }
  if (placeholder !== 'name') return { kind: 'none' }
  const group = command.parent?.name()
  return { kind: group === 'streams' ? 'streams' : group === 'sinks' ? 'sinks' : 'none' }
}
