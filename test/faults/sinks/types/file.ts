/**
 * The file sink: its folder is a stick that is pulled out, and, where there is a C compiler, is full
 * or broken.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type PreloadedDisk, preloadedDisk } from '../../../support/faulty-disk.ts'
import {
  type StoredReading,
  TAKEN_FOR_DELIVERED,
  type TestedType,
  type Trouble,
} from '../receiver.ts'
import { readingsOf } from './lines.ts'

export const testedFile: TestedType = {
  delivery: 'exactly once',
  tools: [],
  planted: [
    {
      defect: 'a repeat is not known',
      only: ['killed at answer.read'],
      seenAs: /I4: there more than once/,
    },
    {
      defect: 'settled before the answer',
      only: ['receiver no-place'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  open: async (parent) => {
    const disk = preloadedDisk()
    const folder = disk?.dataDir ?? join(parent, 'stick')
    const away = `${folder}-away`
    mkdirSync(folder)
    return {
      port: null,
      env: disk?.env ?? {},
      sink: (_, random) => ({
        type: 'file',
        folder,
        minFreeBytes: 0,
        layout: random.chance(0.5) ? 'flat' : 'streams',
        compression: random.chance(0.5) ? 'gzip' : 'none',
        maxBatchRecords: 1 + random.below(40),
      }),
      troubles: {
        'no-place': {
          begin: async () => renameSync(folder, away),
          end: async () => renameSync(away, folder),
        },
        ...(disk === null
          ? {}
          : { busy: failing(disk, 'full-for-good'), broken: failing(disk, 'write-eio') }),
      },
      read: async () => readFiles(folder),
      close: async () => disk?.remove(),
    }
  },
}

function failing(disk: PreloadedDisk, fault: 'full-for-good' | 'write-eio'): Trouble {
  return { begin: async () => disk.fault(fault), end: async () => disk.free() }
}

/** In the order of their names, which is that of their numbers. */
function readFiles(folder: string): StoredReading[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names
    .filter((name) => /(^|\/)[^./][^/]*\.ndjson(\.gz)?$/.test(name))
    .map((path) => ({ path, name: path.slice(path.lastIndexOf('/') + 1) }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ path }) => {
      const bytes = readFileSync(join(folder, path))
      return readingsOf((path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString())
    })
}
