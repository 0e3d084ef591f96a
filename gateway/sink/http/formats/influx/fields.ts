/**
 * A payload -> the fields of a line. Pure. Objects and lists are flattened: `{"a":{"b":1},"c":[2]}`
 * has the fields `a_b` and `c_0`. A number is a float, whatever it looks like: `21` now and `21.4`
 * later would be two types of one field, and receivers refuse the second. With `integers: keep` it
 * is what it was written as. null has no field.
 */
import { follow, type Pointer } from '../../../mapping/pointer.ts'
import { type RecordView, Unmappable } from '../../../mapping/record-view.ts'
import { LONE_FIELD, nameFault, nameText, stringText } from './line-text.ts'

export interface FieldRules {
  /** Stands between the names of an object and of its member. */
  readonly separator: string
  readonly integers: 'float' | 'keep'
  readonly strings: 'keep' | 'leave-out'
  readonly lists: 'index' | 'refuse'
}

/** Members that are no fields, because they are the time or a tag; `true`: all of it. */
type ExcludedNode = Map<string, ExcludedNode | true>
type Excluded = ReadonlyMap<string, ExcludedNode | true>

/** Deeper than any reading, and far from the end of the stack. */
const MAX_DEPTH = 32
/** Names are made and escaped once; devices that make up new ones cost no memory. */
const MAX_KNOWN_PLACES = 4096

const MIN_INTEGER = -(2n ** 63n)
const MAX_INTEGER = 2n ** 63n - 1n
/** A minus and so many digits fit in any case. */
const SURE_CHARS = 18

/** Names and values of one payload, joined by commas: what stands between the blanks of a line. */
type FieldsOf = (view: RecordView) => string

/** @param elsewhere what of the payload is the time or a tag */
export function compileFields(
  at: Pointer,
  elsewhere: readonly Pointer[],
  rules: FieldRules,
): FieldsOf {
  const excluded = excludedBelow(at, elsewhere)
  const writer = new FieldWriter(rules, excluded)
  const place = at.tokens.length === 0 ? 'the payload' : at.text
  return (view) => {
    const isTagged = rules.integers === 'keep' && UNUSUAL_NUMBER.test(view.json)
    const payload = isTagged ? JSON.parse(tagged(view.json)) : view.payload
    const root = follow(payload, at)
    if (root === undefined) throw new Unmappable(`${place} is missing`)
    const fields = writer.write(root, isTagged)
    if (fields === '') throw new Unmappable(`${place} has nothing that could be a field`)
    return fields
  }
}

/** A field by its flattened name: of two places with one name it is the same. */
interface Field {
  readonly name: string
  /** `name=`, escaped; null: it had no value yet. */
  text: string | null
  /** The last payload that had a value for it, by number. */
  writtenIn: number
}

/** A place in payloads, known by the names on the way. */
interface Place {
  readonly field: Field
  /** Itself, or what of it is no field. */
  readonly excluded: Excluded | true | null
  /** Of an object, by name; null: it was none yet. */
  members: Map<string, Place> | null
  /** Of a list. */
  items: Place[] | null
}

class FieldWriter {
  readonly #rules: FieldRules
  readonly #excluded: Excluded | null
  /** By flattened name. */
  readonly #fields = new Map<string, Field>()
  #root: Place
  #places = 0
  /** Numbers and strings are those of {@link tagged}. */
  #isTagged = false
  #out = ''
  /** The number of this payload. */
  #payload = 0

  constructor(rules: FieldRules, excluded: Excluded | null) {
    this.#rules = rules
    this.#excluded = excluded
    this.#root = this.#placeOf(LONE_FIELD, excluded)
  }

  write(root: unknown, isTagged: boolean): string {
    this.#isTagged = isTagged
    this.#out = ''
    this.#payload += 1
    try {
      if (typeof root === 'object' && root !== null) this.#group(root, this.#root, 0)
      else this.#value(root, this.#root, 0)
      return this.#out
    } finally {
      if (this.#places > MAX_KNOWN_PLACES) this.#forget()
    }
  }

  #forget(): void {
    this.#fields.clear()
    this.#places = 0
    this.#root = this.#placeOf(LONE_FIELD, this.#excluded)
  }

  #group(group: object, place: Place, depth: number): void {
    if (depth > MAX_DEPTH) throw new Unmappable(`a member is nested deeper than ${MAX_DEPTH}`)
    if (Array.isArray(group)) {
      this.#list(group, place, depth)
      return
    }
    const known = (place.members ??= new Map())
    const members = group as Readonly<Record<string, unknown>>
    for (const key in members) {
      let member = known.get(key)
      if (member === undefined) {
        member = this.#memberOf(place, key, depth)
        known.set(key, member)
      }
      this.#value(members[key], member, depth)
    }
  }

  #list(list: readonly unknown[], place: Place, depth: number): void {
    if (this.#rules.lists === 'refuse') {
      const name = depth === 0 ? '' : place.field.name
      throw new Unmappable(`${name === '' ? 'what the fields are made of' : name} is a list`)
    }
    const known = (place.items ??= [])
    for (const [i, value] of list.entries()) {
      const item = (known[i] ??= this.#memberOf(place, String(i), depth))
      this.#value(value, item, depth)
    }
  }

  #memberOf({ field, excluded }: Place, key: string, depth: number): Place {
    const name = depth === 0 ? key : `${field.name}${this.#rules.separator}${key}`
    const isOpen = excluded === null || excluded === true
    return this.#placeOf(name, isOpen ? null : (excluded.get(key) ?? null))
  }

  #placeOf(name: string, excluded: Place['excluded']): Place {
    this.#places += 1
    const field = this.#fields.get(name) ?? { name, text: null, writtenIn: 0 }
    this.#fields.set(name, field)
    return { field, excluded, members: null, items: null }
  }

  #value(value: unknown, place: Place, depth: number): void {
    if (value === null || place.excluded === true) return
    if (typeof value === 'object') {
      this.#group(value, place, depth + 1)
      return
    }
    const { field } = place
    const text = this.#textOf(field.name, value)
    if (text === null) return
    if (field.writtenIn === this.#payload)
      throw new Unmappable(`two members are the field ${field.name}: choose another separator`)
    field.text ??= fieldText(field.name)
    field.writtenIn = this.#payload
    this.#out += this.#out === '' ? field.text + text : `,${field.text}${text}`
  }

  #textOf(name: string, value: unknown): string | null {
    const { integers, strings } = this.#rules
    if (typeof value === 'boolean') return String(value)
    if (typeof value === 'number')
      return integers === 'keep' && Number.isInteger(value) ? `${value}i` : floatText(name, value)
    const text = this.#isTagged ? (value as string).slice(1) : (value as string)
    if (this.#isTagged && (value as string).startsWith(NUMBER_TAG))
      return /^-?\d+$/.test(text) ? integerText(name, text) : floatText(name, Number(text))
    return strings === 'keep' ? stringText(text) : null
  }
}

/** Before its value. @throws Unmappable */
function fieldText(name: string): string {
  const fault = nameFault(name)
  if (fault !== null) throw new Unmappable(`the field ${JSON.stringify(name)} ${fault}`)
  return `${nameText(name)}=`
}

function floatText(name: string, value: number): string {
  if (!Number.isFinite(value)) throw new Unmappable(`${name} is larger than a float can be`)
  return String(value)
}

function integerText(name: string, text: string): string {
  if (text.length > SURE_CHARS) {
    const value = BigInt(text)
    if (value < MIN_INTEGER || value > MAX_INTEGER)
      throw new Unmappable(`${name} is ${text}, more than an integer of 64 bits can be`)
  }
  return `${text}i`
}

/**
 * What shows in a text with a number whose value does not tell how it was written: `21.0`, `2e1`,
 * `-0`, more digits than a number holds. A string may look so, too. In all other texts whole
 * numbers are integers, and are written as they print.
 */
const UNUSUAL_NUMBER = /\.0+(?!\d)|\d[eE]|\d{16}|-0(?![.\d])/

const NUMBER_TAG = 'n'
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|-?\d[\d.eE+-]*/g

/**
 * Valid JSON whose numbers are strings, with every digit as it was written: `n21.0`; its strings
 * have an `s` before them. Names of members stay as they are.
 */
function tagged(json: string): string {
  return json.replaceAll(TOKENS, (token, colon: string | undefined) => {
    if (colon !== undefined) return token
    return token.startsWith('"') ? `"s${token.slice(1)}` : `"${NUMBER_TAG}${token}"`
  })
}

/** What of `elsewhere` lies below `at`, by the names on the way. */
function excludedBelow(at: Pointer, elsewhere: readonly Pointer[]): Excluded | null {
  const root: ExcludedNode = new Map<string, ExcludedNode | true>()
  for (const { tokens } of elsewhere) {
    const isBelow = at.tokens.every((token, i) => tokens[i] === token)
    if (isBelow) exclude(root, tokens.slice(at.tokens.length))
  }
  return root.size === 0 ? null : root
}

function exclude(node: ExcludedNode, [token, ...rest]: readonly string[]): void {
  if (token === undefined) return
  const known = node.get(token)
  if (known === true) return
  if (rest.length === 0) {
    node.set(token, true)
    return
  }
  const below: ExcludedNode = known ?? new Map<string, ExcludedNode | true>()
  node.set(token, below)
  exclude(below, rest)
}
