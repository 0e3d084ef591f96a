/**
 * A first configuration for a person to edit, made of the key table: what a gateway needs, and the
 * keys of its stream and its sink with their meaning, commented out where the default is meant.
 * Pure.
 */
import type { KeyDescription } from './describe.ts'

const WIDTH = 96

const HEAD = `# Configuration of a Sluice gateway. Every key has a default: what is commented out as "#key: value"
# is in effect; what is commented out as "# EXAMPLE" is not. Paths count from this file. What it
# comes to: sluice check; what it does: sluice start.

gateway:
  # Folder of what waits for the sink; one process at a time owns it.
  dataDir: ./data

mqtt:
  listeners:
    - { host: 127.0.0.1, port: 1883 }
    # EXAMPLE, devices on other machines, with TLS:
    # - { host: 0.0.0.0, port: 8883, tls: { cert: server.pem, key: server.key } }
  # EXAMPLE, users, each made by: sluice passwd --file passwords NAME
  # auth: { passwordFile: passwords }
`

/**
 * `sinkType`: one of {@link sinkTypesIn}. Loads as it is, and to the same with each of its
 * commented keys taken in.
 */
export function firstConfig(rows: readonly KeyDescription[], sinkType: string): string {
  const stream = keysOf(rows, 'streams.<name>.', (row) => row.only === null)
  const sink = keysOf(rows, 'sinks.<name>.', (row) => isOfType(row, sinkType))
  const written = new Set(['topics', 'sink', 'type'])
  const section = (keys: readonly KeyDescription[]): string =>
    keys
      .filter(({ path }) => !written.has(path))
      .map(commentedKey)
      .join('')
  return `${HEAD}
streams:
  telemetry:
    # CHANGE: what devices publish, by topic filters.
    topics: ["#"]
    sink: main
${section(stream)}
sinks:
  main:
    type: ${sinkType}
${section(sink)}`
}

export function sinkTypesIn(rows: readonly KeyDescription[]): string[] {
  const types = rows.flatMap(({ only }) => (only?.at === 'sinks.<name>.type' ? [only.value] : []))
  return [...new Set(types)]
}

/** Those directly below a section, by their names there. */
function keysOf(
  rows: readonly KeyDescription[],
  below: string,
  isMeant: (row: KeyDescription) => boolean,
): KeyDescription[] {
  const keys = rows
    .filter((row) => row.path.startsWith(below) && isMeant(row))
    .map((row) => ({ ...row, path: row.path.slice(below.length) }))
    .filter(({ path }) => !path.includes('.'))
  // A type may have another default for a key that each has: its row comes later.
  return [...new Map(keys.map((key) => [key.path, key])).values()]
}

function isOfType({ only }: KeyDescription, type: string): boolean {
  return only === null || (only.at === 'sinks.<name>.type' && only.value === type)
}

function commentedKey({ path, text, default: value }: KeyDescription): string {
  const meaning = wrapped(text).map((line) => `    # ${line}\n`)
  return `${meaning.join('')}    #${path}: ${value}\n`
}

function wrapped(text: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH - 6) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}
