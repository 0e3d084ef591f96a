/** Which view an address shows: `#/devices`. The server knows one page only. */
import { signal } from '@preact/signals'

export const PATHS = [
  'overview',
  'devices',
  'reading',
  'sinks',
  'dead-letters',
  'spool',
  'configuration',
] as const

export type ViewPath = (typeof PATHS)[number]

export const path = signal<ViewPath>(pathOf(location.hash))

addEventListener('hashchange', () => {
  path.value = pathOf(location.hash)
})

function pathOf(hash: string): ViewPath {
  const name = hash.replace(/^#\/?/, '')
  return PATHS.find((each) => each === name) ?? 'overview'
}
