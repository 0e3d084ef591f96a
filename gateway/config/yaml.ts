/**
 * A YAML text as plain data, with the place where each key was written. Reads no file and checks no
 * key.
 */
import { type Document, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import { errorMessage } from '../shared/errors.ts'
import type { Origin, Problem } from './problems.ts'
import type { Path } from './walk.ts'

export interface YamlSource {
  readonly data: unknown
  /** Place of the longest known part of a path. */
  placeOf(path: Path): Origin
}

interface RefusedYaml {
  readonly problems: readonly Problem[]
  /** What could be read all the same. */
  readonly rest: unknown
}

type YamlResult = YamlSource | RefusedYaml

/**
 * @param file only for the messages
 * @param text YAML 1.2, one document; anchors and merge keys (`<<`) are understood
 */
export function readYaml(file: string, text: string): YamlResult {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, merge: true, prettyErrors: false })
  const origin = (offset: number): Origin => {
    const { line } = lines.linePos(offset)
    return { kind: 'file', file, line }
  }
  const faults = [...document.errors, ...document.warnings]
  if (faults.length > 0) {
    const rest = toData(document)
    return {
      rest: 'fault' in rest ? null : rest.value,
      problems: faults.map(({ pos, code, message }) =>
        syntaxProblem(origin(pos[0]), code === 'DUPLICATE_KEY' ? 'a key twice' : message),
      ),
    }
  }
  const data = toData(document)
  if ('fault' in data) return { problems: [syntaxProblem(origin(0), data.fault)], rest: null }
  const places = new Map<string, number>()
  collect(document.contents, [], places)
  return {
    data: data.value,
    placeOf: (path) => {
      for (let length = path.length; length > 0; length--) {
        const offset = places.get(JSON.stringify(path.slice(0, length)))
        if (offset !== undefined) return origin(offset)
      }
      return origin(0)
    },
  }
}

/**
 * Aliases are bounded by the parser (no "billion laughs"); what is over the bound is an error, not
 * an end.
 */
function toData(document: Document): { readonly value: unknown } | { readonly fault: string } {
  try {
    return { value: document.toJS({ maxAliasCount: 100 }) }
  } catch (error) {
    return { fault: errorMessage(error) }
  }
}

function collect(node: unknown, path: Path, places: Map<string, number>): void {
  if (isMap(node)) {
    for (const pair of node.items) {
      if (!isPair(pair) || !isScalar(pair.key)) continue
      const inner = [...path, String(pair.key.value)]
      places.set(JSON.stringify(inner), pair.key.range?.[0] ?? 0)
      collect(pair.value, inner, places)
    }
  } else if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) {
      const inner = [...path, index]
      const range = typeof item === 'object' && item !== null && 'range' in item ? item.range : null
      if (Array.isArray(range) && typeof range[0] === 'number')
        places.set(JSON.stringify(inner), range[0])
      collect(item, inner, places)
    }
  }
}

function syntaxProblem(origin: Origin, message: string): Problem {
  const twice = message === 'a key twice'
  // What follows a colon repeats the text, which may be a secret.
  const fault = message.replace(/:.*$/s, '').replace(/\.$/, '')
  return {
    code: 'CONFIG_SYNTAX',
    origin,
    key: '',
    got: twice ? message : `text that is not YAML (${fault})`,
    wanted: twice ? 'each key once in its section' : 'one YAML document',
    fix: twice ? 'remove one of the two' : syntaxFix(message),
  }
}

function syntaxFix(message: string): string {
  if (/\btabs?\b/i.test(message)) return 'indent with spaces'
  if (/alias/i.test(message)) return 'put a text that begins with * in quotation marks'
  return 'correct the text at this line; a text with special characters needs quotation marks'
}
