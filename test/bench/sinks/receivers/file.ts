/** A folder of this disk. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Contest } from '../contest.ts'
import { recordsBelow } from './lines.ts'

export const fileContest: Contest = {
  name: 'file',
  tools: [],
  records: 400_000,
  about: 'a folder; a loop that writes, fsyncs, renames and fsyncs the folder',
  open: async (parent) => {
    let places = 0
    return {
      place: async () => {
        const folder = join(parent, `place-${++places}`)
        mkdirSync(folder)
        return {
          sink: { type: 'file', folder, linger: '0s', minFreeBytes: 0 },
          bare: { kind: 'files', folder },
          stored: async () => recordsBelow(folder, '.ndjson.gz'),
        }
      },
      close: async () => undefined,
    }
  },
}
