/** Stores for objects: an S3 server of npm, and nginx with its DAV module. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { BUCKET, DAV_USER, NginxDav, S3RVER_KEYS, S3rver } from '../../../sink/object/servers.ts'
import type { Contest } from '../contest.ts'
import { recordsBelow } from './lines.ts'

const RECORDS = 400_000

export const objectContest: Contest = {
  name: 'object-s3',
  tools: [],
  records: RECORDS,
  about: 's3rver; a loop that puts, unsigned',
  open: async (folder) => {
    const server = await S3rver.start(folder)
    let places = 0
    return {
      place: async () => {
        const name = `${BUCKET}/place-${++places}`
        const url = `${server.origin}/${name}`
        const { accessKeyId, secretAccessKey } = S3RVER_KEYS
        const auth = { kind: 'aws-sigv4', accessKeyId, secretAccessKey }
        return {
          sink: { type: 'object', url, auth, linger: '0s' },
          bare: { kind: 'put', url, headers: {} },
          stored: async () => recordsBelow(join(folder, name), '.ndjson.gz._S3rver_object'),
        }
      },
      close: () => server.close(),
    }
  },
}

export const davContest: Contest = {
  name: 'object-dav',
  tools: ['nginx'],
  records: RECORDS,
  about: 'nginx with DAV; a loop that puts',
  open: async (folder) => {
    const server = await NginxDav.start(folder)
    const { user, password } = DAV_USER
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
    let places = 0
    return {
      place: async () => {
        const name = `place-${++places}`
        mkdirSync(join(server.root, name))
        const url = `${server.url}/${name}`
        return {
          sink: {
            type: 'object',
            store: 'dav',
            layout: 'flat',
            url,
            auth: { kind: 'basic', user, password },
            linger: '0s',
          },
          bare: { kind: 'put', url, headers: { authorization } },
          stored: async () => recordsBelow(join(server.root, name), '.ndjson.gz'),
        }
      },
      close: () => server.close(),
    }
  },
}
