/** Batches as objects of a store: see README.md. */
import { hideUrl } from '../../shared/text/hide-url.ts'
import { batchFilesOf } from '../batch-files/batch-files.ts'
import type { SinkType } from '../sink-type.ts'
import { type ObjectSinkConfig, objectFiles, objectKeys } from './config.ts'
import { checkObjectSink } from './config-checks.ts'
import { probeStore } from './probe.ts'
import { createObjectSink, OBJECT_TYPE, objectPromise } from './sink.ts'

export const objectType = {
  keys: objectKeys,
  check: checkObjectSink,
  files: objectFiles,
  url: ({ url }) => hideUrl(url),
  promise: objectPromise,
  preview: async ({ url, layout }, batch) => {
    const { data, gaps } = await batchFilesOf(OBJECT_TYPE, batch, 'identity', layout)
    const files = gaps === null ? [data] : [gaps, data]
    const below = hideUrl(url).replace(/\/+$/, '')
    return files
      .map(({ name, chunks }) => `PUT ${below}/${name}\n\n${Buffer.concat(chunks).toString()}`)
      .join('\n')
  },
  create: createObjectSink,
  probe: probeStore,
} satisfies SinkType<ObjectSinkConfig>
