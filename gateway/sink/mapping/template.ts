/**
 * Texts with placeholders, compiled once and filled in per record: topics, subjects, measurements,
 * whole bodies. Pure. What a type must not let into its own syntax (a `+` in a topic, a quote in
 * JSON) it escapes by the function that it hands in.
 */
import type { Batch } from '../../ports/sink.ts'
import { type Placeholder, placeholderOf } from './placeholders.ts'
import { parsePointer, pointerFix } from './pointer.ts'
import { type FieldValue, RecordView } from './record-view.ts'

/** @param value of one placeholder; what it returns stands in its place */
export type Escape = (value: FieldValue) => string

export interface Template {
  /** Has it any placeholder? */
  readonly isConstant: boolean
  /** @throws Unmappable when the record has not what a placeholder wants */
  render(view: RecordView, escape?: Escape): string
}

/**
 * A template, or what is wrong with its text. `$${` stands for `${` itself.
 * @param scope `batch`: of what is the same for all records of a batch alone
 */
export function parseTemplate(
  source: string,
  scope: 'record' | 'batch' = 'record',
): { readonly value: Template } | { fix: string } {
  const parts: Array<string | Placeholder> = []
  let rest = source
  for (;;) {
    const open = rest.indexOf('${')
    if (open < 0) break
    if (rest[open - 1] === '$') {
      parts.push(`${rest.slice(0, open - 1)}\${`)
      rest = rest.slice(open + 2)
      continue
    }
    const close = rest.indexOf('}', open)
    if (close < 0) return { fix: `end ${rest.slice(open, open + 40)} with }` }
    const found = placeholderOf(rest.slice(open + 2, close), scope)
    if ('fix' in found) return { fix: found.fix }
    parts.push(rest.slice(0, open), found.value)
    rest = rest.slice(close + 1)
  }
  parts.push(rest)
  return { value: templateOf(parts.filter((part) => part !== '')) }
}

const asItIs: Escape = ({ text }) => text

function templateOf(parts: ReadonlyArray<string | Placeholder>): Template {
  return {
    isConstant: parts.every((part) => typeof part === 'string'),
    render: (view, escape = asItIs) => {
      let out = ''
      for (const part of parts) out += typeof part === 'string' ? part : escape(part(view))
      return out
    },
  }
}

/** @throws Error for a text that {@link parseTemplate} refuses: a configuration was not checked */
export function compileTemplate(source: string): Template {
  const parsed = parseTemplate(source)
  if ('fix' in parsed) throw new Error(`the template ${JSON.stringify(source)}: ${parsed.fix}`)
  return parsed.value
}

/** A template of scope `batch`, filled in. */
export function fillBatch(
  source: string,
  batch: Pick<Batch, 'gateway' | 'stream'>,
  escape: Escape = asItIs,
): string {
  const parsed = parseTemplate(source, 'batch')
  if ('fix' in parsed) throw new Error(`the text ${JSON.stringify(source)}: ${parsed.fix}`)
  return parsed.value.render(new RecordView(batch), escape)
}

/** One value of a record: see {@link parseMapped}. @throws Unmappable */
export type Mapped = (view: RecordView) => FieldValue

/**
 * `/pointer`: what the payload holds there, with its type, `missing` included. `${name}` alone: that
 * with its type. Any other text: a template, a text.
 */
export function parseMapped(source: string): { readonly value: Mapped } | { fix: string } {
  if (source.startsWith('/')) {
    const fix = pointerFix(source)
    if (fix !== null) return { fix }
    const pointer = parsePointer(source)
    return { value: (view) => view.field(pointer) }
  }
  const alone = /^\$\{([^}]*)\}$/.exec(source)?.[1]
  if (alone !== undefined) return placeholderOf(alone)
  const parsed = parseTemplate(source)
  if ('fix' in parsed) return parsed
  return { value: (view) => ({ type: 'text', text: parsed.value.render(view) }) }
}

/** @throws Error for a text that {@link parseMapped} refuses: a configuration was not checked */
export function compileMapped(source: string): Mapped {
  const parsed = parseMapped(source)
  if ('fix' in parsed) throw new Error(`${JSON.stringify(source)}: ${parsed.fix}`)
  return parsed.value
}
