/** A folder as a receiver, for the conformance suite. */
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { createFileSink } from '../../../gateway/sink/file/sink.ts'
import type { SinkHarness } from '../conformance.ts'
import { fileSinkConfig } from './configs.ts'

export const fileHarness: SinkHarness = {
  promise: 'exactly once',
  open: async () => {
    const parent = mkdtempSync(join(tmpdir(), 'sluice-file-conformance-'))
    const folder = join(parent, 'stick')
    const away = join(parent, 'away')
    const config = fileSinkConfig({ folder, minFreeBytes: 0 })
    renameSync(mkdtempSync(join(parent, 'new-')), folder)
    const files = (end: RegExp): string[] => {
      const names = readdirSync(parent, { recursive: true, encoding: 'utf8' }).toSorted()
      return names.filter((name) => end.test(name)).map((name) => join(parent, name))
    }
    const pulledOut = () => {
      renameSync(folder, away)
      return () => renameSync(away, folder)
    }
    return {
      sink: () => createFileSink({ name: 'stick', config, emit: () => undefined }),
      config: { ...config },
      ids: () =>
        files(/\.ndjson(\.gz)?$/).flatMap((path) => {
          const bytes = readFileSync(path)
          const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString()
          return [...text.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id ?? '')
        }),
      gaps: () => files(/\.gaps\.json$/).map((path) => readFileSync(path, 'utf8')),
      outage: pulledOut,
      trouble: pulledOut,
      loseAnswer: null,
      takeThrough: null,
      refuse: null,
      close: async () => rmSync(parent, { recursive: true, force: true }),
    }
  },
}
