/** Object storage: s3rver, which ignores conditions, and nginx with its DAV module. */
import { mkdirSync, renameSync, symlinkSync } from 'node:fs'
import { devNull } from 'node:os'
import { join } from 'node:path'
import type { Random } from '../../../../device-sim/random.ts'
import { BUCKET, DAV_USER, NginxDav, S3RVER_KEYS, S3rver } from '../../../sink/object/servers.ts'
import { endings, TAKEN_FOR_DELIVERED, type TestedType, type Trouble } from '../receiver.ts'
import { readingsOf } from './lines.ts'

export const testedS3: TestedType = {
  delivery: 'exactly once',
  tools: [],
  planted: [
    {
      defect: 'a repeat is not known',
      only: ['killed at answer.read'],
      seenAs: /I4: there more than once/,
    },
  ],
  open: async (parent) => {
    const store = await S3rver.start(ownFolder(parent))
    const auth = { kind: 'aws-sigv4', region: 'us-east-1', ...S3RVER_KEYS }
    return {
      port: store.port,
      sink: (port, random) => ({
        ...formOf(random),
        url: `http://127.0.0.1:${port}/${BUCKET}/plant`,
        auth,
      }),
      troubles: {
        ...endings(store, () => store.start()),
        'no-place': awayWith(join(store.folder, BUCKET)),
      },
      read: async () => readingsOf(store.texts(/\.ndjson(\.gz)?$/).join('')),
      close: () => store.close(),
    }
  },
}

export const testedDav: TestedType = {
  delivery: 'exactly once',
  tools: ['nginx'],
  planted: [
    { defect: 'no answer is an ack', only: ['receiver killed'], seenAs: TAKEN_FOR_DELIVERED },
    {
      defect: 'settled before the answer',
      only: ['receiver locked-out'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  open: async (parent) => {
    const store = await NginxDav.start(ownFolder(parent))
    return {
      port: store.port,
      sink: (port, random) => ({
        ...formOf(random),
        store: 'dav',
        url: `http://127.0.0.1:${port}/edge`,
        auth: { kind: 'basic', ...DAV_USER },
        temporaryNames: random.chance(0.5),
      }),
      troubles: {
        ...endings(store, () => store.start()),
        'locked-out': {
          begin: async () => store.allow('another'),
          end: async () => store.allow(DAV_USER.password),
        },
        'no-place': awayWith(store.root),
      },
      read: async () => readingsOf(store.texts(/\.ndjson(\.gz)?$/).join('')),
      close: () => store.close(),
    }
  },
}

function ownFolder(parent: string): string {
  const folder = join(parent, 'store')
  mkdirSync(folder)
  return folder
}

/** What may change between two lives and keeps the promise. */
function formOf(random: Random): Readonly<Record<string, unknown>> {
  return {
    type: 'object',
    layout: random.chance(0.5) ? 'streams' : 'days',
    compression: random.chance(0.5) ? 'gzip' : 'none',
    maxBatchRecords: 10 + random.below(31),
    timeout: '1s',
  }
}

/**
 * In one step: a folder that is moved away comes back with the PUT that is on its way, since the
 * servers make the folders of its path.
 */
function awayWith(path: string): Trouble {
  const folder = `${path}-itself`
  const lead = (target: string) => {
    symlinkSync(target, `${path}-next`)
    renameSync(`${path}-next`, path)
  }
  renameSync(path, folder)
  lead(folder)
  return { begin: async () => lead(devNull), end: async () => lead(folder) }
}
