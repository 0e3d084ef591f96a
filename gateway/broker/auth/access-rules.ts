/**
 * Who may publish and subscribe where: the `aclFile`, in the line format that Mosquitto made
 * familiar.
 *
 *   # comment
 *   topic read public/#
 *   user press-7
 *   topic write plant/press-7/#
 *   topic read  plant/+/setpoint
 *   topic deny  plant/press-7/secret/#
 *   pattern write devices/%c/#
 *
 * `topic [read|write|readwrite|deny] FILTER` belongs to the `user` line above it, and to clients without a name before the
 * first one; `pattern …` applies to every client, wherever it stands. Without an access word a rule
 * is `readwrite`. `%u` is the user name and `%c` the client id, in both kinds of rules. `write` is
 * publishing, `read` subscribing. Any `deny` that applies wins. Who has no rule may nothing.
 *
 * A subscription is granted if its filter takes a topic that may be received; what may not is left
 * out of its deliveries, topic by topic, so `#` is a question that everybody may ask. A placeholder
 * never widens what a user may: if its value is empty, holds `+`, `#` or `/`, or would begin a
 * topic with `$`, then an allowing rule is void and a denying rule denies everything from that
 * level on.
 */

import { AuthFileError, linesOf } from '../../shared/passwords/password-file.ts'
import {
  checkTopicFilter,
  filterMatches,
  PROTOCOL_TOPIC_LIMITS,
} from '../../shared/topics/topics.ts'
import { covers, overlaps } from './filter-relations.ts'

type AccessKind = 'read' | 'write' | 'readwrite' | 'deny'

interface Rule {
  readonly kind: AccessKind
  /** As written, with placeholders. */
  readonly filter: string
  /** Of the file, from 1. */
  readonly line: number
}

/** A rule as it applies to one client, for people. */
export interface AppliedRule {
  readonly kind: AccessKind
  /** Placeholders replaced; null: a value cannot stand there, so an allowing rule is void. */
  readonly filter: string | null
  readonly line: number
}

/** The rules of one user and client id, placeholders replaced. */
export interface Access {
  mayPublish(topic: string): boolean
  /** Is there a topic of this filter that it may receive? */
  maySubscribe(filter: string): boolean
  /** May it receive all that the filter takes? Then no copy has to be looked at. */
  mayReceiveAll(filter: string): boolean
  mayReceive(topic: string): boolean
}

/** What every user may whose listener has a password file and no access file. */
export const FULL_ACCESS: Access = {
  mayPublish: () => true,
  maySubscribe: () => true,
  mayReceiveAll: () => true,
  mayReceive: () => true,
}

/** What a user may who has no rule. */
export const NO_ACCESS: Access = {
  mayPublish: () => false,
  maySubscribe: () => false,
  mayReceiveAll: () => false,
  mayReceive: () => false,
}

/** Names the rules of clients without a name: no `user` line can. */
const ANONYMOUS = ''

export class AccessRules {
  readonly #users: ReadonlyMap<string, readonly Rule[]>
  readonly #patterns: readonly Rule[]

  /** Use {@link parseAccessRules}. `patterns` apply to every user. */
  constructor(users: ReadonlyMap<string, readonly Rule[]>, patterns: readonly Rule[]) {
    this.#users = users
    this.#patterns = patterns
  }

  /** Rules in the file. */
  get count(): number {
    let count = this.#patterns.length
    for (const rules of this.#users.values()) count += rules.length
    return count
  }

  /** What applies to a client, in the order of the file, patterns last. `user` null: no name. */
  appliedTo(user: string | null, clientId: string): AppliedRule[] {
    const name = user ?? ANONYMOUS
    return this.#rulesOf(name).map(({ kind, filter, line }) => {
      const { exact, before } = substitute(filter, name, clientId)
      // A denial holds from the level on that is not known.
      return { kind, line, filter: kind === 'deny' ? (exact ?? [...before, '#'].join('/')) : exact }
    })
  }

  /** `user` null: a client without a name. */
  for(userOrNull: string | null, clientId: string): Access {
    const user = userOrNull ?? ANONYMOUS
    const readable: string[] = []
    const writable: string[] = []
    const denied: string[] = []
    for (const { kind, filter } of this.#rulesOf(user)) {
      const { exact, before } = substitute(filter, user, clientId)
      if (kind === 'deny') {
        if (exact === null && before.length === 0) return NO_ACCESS
        denied.push(exact ?? [...before, '#'].join('/'))
      } else if (exact !== null) {
        if (kind !== 'write') readable.push(exact)
        if (kind !== 'read') writable.push(exact)
      }
    }
    const takenBy = (rules: readonly string[], topic: string): boolean =>
      rules.some((rule) => filterMatches(rule, topic))
    return {
      mayPublish: (topic) => takenBy(writable, topic) && !takenBy(denied, topic),
      maySubscribe: (filter) =>
        !denied.some((deny) => covers(deny, filter)) &&
        readable.some(
          (rule) => overlaps(rule, filter) && !denied.some((deny) => covers(deny, rule)),
        ),
      mayReceiveAll: (filter) =>
        readable.some((rule) => covers(rule, filter)) &&
        !denied.some((rule) => overlaps(rule, filter)),
      mayReceive: (topic) => takenBy(readable, topic) && !takenBy(denied, topic),
    }
  }

  #rulesOf(user: string): readonly Rule[] {
    return [...(this.#users.get(user) ?? []), ...this.#patterns]
  }
}

/** Throws an AuthFileError that names the line. */
export function parseAccessRules(text: string, path: string): AccessRules {
  const users = new Map<string, Rule[]>()
  const patterns: Rule[] = []
  let current: Rule[] = []
  users.set(ANONYMOUS, current)
  for (const [index, line] of linesOf(text).entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    const fail = (problem: string): never => {
      throw new AuthFileError('AUTH_FILE_INVALID', path, index + 1, problem)
    }
    const [keyword, rest] = firstWord(trimmed)
    switch (keyword) {
      case 'user': {
        if (rest === '') fail('expected "user NAME"')
        current = users.get(rest) ?? []
        users.set(rest, current)
        break
      }
      case 'topic': {
        current.push({ ...parseRule(rest, fail), line: index + 1 })
        break
      }
      case 'pattern': {
        patterns.push({ ...parseRule(rest, fail), line: index + 1 })
        break
      }
      default: {
        fail(`expected user, topic or pattern, got ${JSON.stringify(keyword.slice(0, 40))}`)
      }
    }
  }
  return new AccessRules(users, patterns)
}

const KINDS: readonly string[] = ['read', 'write', 'readwrite', 'deny'] satisfies AccessKind[]

function parseRule(text: string, fail: (problem: string) => never): Omit<Rule, 'line'> {
  const [word, rest] = firstWord(text)
  const named = KINDS.includes(word)
  if (named && rest === '') return fail(`expected a filter after "${word}"`)
  if (!named && rest !== '')
    return fail(`expected read, write, readwrite or deny, got ${JSON.stringify(word)}`)
  const filter = named ? rest : text
  const fault = checkTopicFilter(filter.replace(PLACEHOLDER, 'x'), PROTOCOL_TOPIC_LIMITS)
  if (fault !== null) return fail(`the filter ${JSON.stringify(filter)} is not valid (${fault})`)
  return { kind: named ? (word as AccessKind) : 'readwrite', filter }
}

/** The rest keeps the white space inside: names and filters may hold some. */
function firstWord(text: string): readonly [word: string, rest: string] {
  const end = text.search(/\s/)
  return end < 0 ? [text, ''] : [text.slice(0, end), text.slice(end).trim()]
}

const PLACEHOLDER = /%[uc]/g

/** `exact` null: a value cannot stand in a filter; `before` are the levels in front of that one. */
function substitute(
  filter: string,
  user: string,
  clientId: string,
): { readonly exact: string | null; readonly before: readonly string[] } {
  const levels: string[] = []
  for (const level of filter.split('/')) {
    let usable = true
    const replaced = level.replace(PLACEHOLDER, (placeholder, offset: number) => {
      const value = placeholder === '%u' ? user : clientId
      const beginsTopic = levels.length === 0 && offset === 0
      if (value === '' || /[+#/]/.test(value) || (beginsTopic && value.startsWith('$')))
        usable = false
      return value
    })
    if (!usable) return { exact: null, before: levels }
    levels.push(replaced)
  }
  return { exact: levels.join('/'), before: levels }
}
