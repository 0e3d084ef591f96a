/** Batches as objects of a store: see README.md. */
import { hideUrl } from '../../shared/text/hide-url.ts'
import { shownFilesOf } from '../batch-files/batch-files.ts'
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
  preview: async (config, batch) => {
    const files = await shownFilesOf(OBJECT_TYPE, batch, config)
    const below = hideUrl(config.url).replace(/\/+$/, '')
    return files
      .map(({ name, chunks }) => `PUT ${below}/${name}\n\n${Buffer.concat(chunks).toString()}`)
      .join('\n')
  },
  create: createObjectSink,
  probe: probeStore,
} satisfies SinkType<ObjectSinkConfig>
