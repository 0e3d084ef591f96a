/**
 * Line protocol as its documents describe it, read character by character. Shares nothing with the
 * encoder: what the encoder's tests compare with.
 */

export interface Point {
  readonly measurement: string
  readonly tags: Readonly<Record<string, string>>
  readonly fields: Readonly<Record<string, FieldOfPoint>>
  readonly time: string
}

type FieldOfPoint =
  | { readonly float: number }
  | { readonly integer: string }
  | { readonly string: string }
  | { readonly boolean: boolean }

/** Lines end at a line break outside of quotes. @throws for what is no line protocol */
export function parseLines(text: string): Point[] {
  const parser = new LineParser(text)
  const points: Point[] = []
  while (!parser.atEnd) points.push(parser.line())
  return points
}

class LineParser {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  get atEnd(): boolean {
    return this.#at >= this.#text.length
  }

  line(): Point {
    if (this.#char === '#') throw new Error(`a comment at ${this.#at}`)
    const measurement = this.#name(', ', ', ')
    const tags: Record<string, string> = {}
    while (this.#char === ',') {
      this.#take(',')
      const key = this.#name(',= ', '=')
      this.#take('=')
      if (Object.hasOwn(tags, key)) throw new Error(`tag ${key} twice`)
      tags[key] = this.#name(',= ', ', ')
    }
    this.#take(' ')
    const fields: Record<string, FieldOfPoint> = {}
    for (;;) {
      const key = this.#name(',= ', '=')
      this.#take('=')
      if (Object.hasOwn(fields, key)) throw new Error(`field ${key} twice`)
      fields[key] = this.#value()
      if (this.#char !== ',') break
      this.#take(',')
    }
    this.#take(' ')
    const time = this.#until(/\n/)
    if (!/^-?\d+$/.test(time)) throw new Error(`time ${time}`)
    this.#take('\n')
    return { measurement, tags, fields, time }
  }

  get #char(): string {
    return this.#text[this.#at] ?? ''
  }

  #take(char: string): void {
    if (this.#char !== char)
      throw new Error(
        `${JSON.stringify(this.#char)} in place of ${JSON.stringify(char)} at ${this.#at}`,
      )
    this.#at += 1
  }

  #until(end: RegExp): string {
    let text = ''
    while (!this.atEnd && !end.test(this.#char)) {
      text += this.#char
      this.#at += 1
    }
    return text
  }

  /** @param escapable what a backslash may stand before; `ends`: what ends it without one */
  #name(escapable: string, ends: string): string {
    let name = ''
    for (;;) {
      const char = this.#char
      if (char === '' || char === '\n') throw new Error(`the line ends in a name at ${this.#at}`)
      if (ends.includes(char)) break
      if (escapable.includes(char)) throw new Error(`${char} without a backslash at ${this.#at}`)
      const next = this.#text[this.#at + 1] ?? ''
      const isEscape = char === '\\' && next !== '' && escapable.includes(next)
      // What parsers disagree on must not be there at all.
      if (char === '\\' && (next === '\\' || next === '"' || next === '\n'))
        throw new Error(`ambiguous at ${this.#at}`)
      name += isEscape ? next : char
      this.#at += isEscape ? 2 : 1
    }
    if (name === '') throw new Error(`an empty name at ${this.#at}`)
    return name
  }

  #value(): FieldOfPoint {
    if (this.#char === '"') return { string: this.#string() }
    const text = this.#until(/[ ,\n]/)
    if (text === 'true' || text === 'false') return { boolean: text === 'true' }
    if (/^-?\d+i$/.test(text)) return { integer: text.slice(0, -1) }
    if (/^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/.test(text)) return { float: Number(text) }
    throw new Error(`value ${text}`)
  }

  #string(): string {
    this.#take('"')
    let text = ''
    while (this.#char !== '"') {
      if (this.atEnd) throw new Error('a string without an end')
      const next = this.#text[this.#at + 1] ?? ''
      const isEscape = this.#char === '\\' && (next === '"' || next === '\\')
      if (this.#char === '\\' && !isEscape) throw new Error(`a lone backslash at ${this.#at}`)
      text += isEscape ? next : this.#char
      this.#at += isEscape ? 2 : 1
    }
    this.#take('"')
    return text
  }
}
