/** Batches as files: see README.md. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { shownFilesOf } from '../batch-files/batch-files.ts'
import type { SinkType } from '../sink-type.ts'
import { type FileSinkConfig, fileKeys } from './config.ts'
import { FILE_PROMISE, FILE_TYPE } from './encode.ts'
import { probeFolder } from './probe.ts'
import { createFileSink } from './sink.ts'

export const fileType = {
  keys: fileKeys,
  check: () => undefined,
  files: () => [],
  url: ({ folder }) => pathToFileURL(folder).href,
  promise: () => FILE_PROMISE,
  preview: async (config, batch) => {
    const files = await shownFilesOf(FILE_TYPE, batch, config)
    return files
      .map(
        ({ name, chunks }) => `${join(config.folder, name)}:\n${Buffer.concat(chunks).toString()}`,
      )
      .join('')
  },
  create: createFileSink,
  probe: probeFolder,
} satisfies SinkType<FileSinkConfig>
