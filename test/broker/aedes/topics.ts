/**
 * Topic names and filters over a small alphabet, and matching by the plainest reading of the
 * standard.
 */
import fc from 'fast-check'

const LEVELS = ['', 'a', 'b', '$x']

const levels = (choices: readonly string[]): fc.Arbitrary<string[]> =>
  fc.array(fc.constantFrom(...choices), { minLength: 1, maxLength: 4 })

export const topicNames: fc.Arbitrary<string> = levels(LEVELS)
  .map((parts) => parts.join('/'))
  .filter((name) => name !== '')

export const topicFilters: fc.Arbitrary<string> = fc
  .tuple(levels([...LEVELS, '+']), fc.boolean())
  .map(([parts, rest]) => [...parts.slice(rest ? 1 : 0), ...(rest ? ['#'] : [])].join('/'))
  .filter((filter) => filter !== '')

/** MQTT 3.1.1, section 4.7, as a regular expression over the whole name. */
export function matchesByDefinition(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false
  if (filter === '#') return true
  let pattern = patterns.get(filter)
  if (pattern === undefined) {
    const source = filter
      .replaceAll('$', String.raw`\$`)
      .replaceAll('+', '[^/]*')
      .replace(/\/#$/, '(/.*)?')
    pattern = new RegExp(`^${source}$`)
    patterns.set(filter, pattern)
  }
  return pattern.test(topic)
}

const patterns = new Map<string, RegExp>()

/**
 * Every name of up to `depth` levels, with a level (`z`) that no filter of {@link topicFilters}
 * names.
 */
export function allNames(depth: number): string[] {
  const choices = [...LEVELS, 'z', '$z']
  let names: string[] = ['']
  const all: string[] = []
  for (let level = 0; level < depth; level += 1) {
    names = names.flatMap((name) =>
      choices.map((choice) => (level === 0 ? choice : `${name}/${choice}`)),
    )
    all.push(...names)
  }
  return all.filter((name) => name !== '')
}
