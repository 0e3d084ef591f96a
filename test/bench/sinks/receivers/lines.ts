import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** Records in the gzip files of NDJSON of a folder, wherever below it. */
export function recordsBelow(folder: string, end: string): number {
  if (!existsSync(folder)) return 0
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(end))
    .reduce((sum, name) => sum + linesIn(gunzipSync(readFileSync(join(folder, name)))), 0)
}

function linesIn(text: Uint8Array): number {
  let lines = 0
  for (let at = text.indexOf(10); at >= 0; at = text.indexOf(10, at + 1)) lines += 1
  return lines
}
