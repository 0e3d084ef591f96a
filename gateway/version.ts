/** The product's version, from its package.json: the one place where it is written. */
import { readFileSync } from 'node:fs'

function readVersion(): string {
  // One folder up from the sources, two from dist.
  for (const path of ['../package.json', '../../package.json']) {
    try {
      const { name, version } = JSON.parse(
        readFileSync(new URL(path, import.meta.url), 'utf8'),
      ) as Record<string, string>
      if (name === 'sluice' && version) return version
    } catch {
      // Not there: try the other one.
    }
  }
  return 'unknown'
}

export const VERSION = readVersion()
