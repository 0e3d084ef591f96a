/** Batches as files: see README.md. */
import { pathToFileURL } from 'node:url'
import type { SinkType } from '../sink-type.ts'
import { type FileSinkConfig, fileKeys } from './config.ts'
import { probeFolder } from './probe.ts'
import { createFileSink } from './sink.ts'

export const fileType = {
  keys: fileKeys,
  check: () => undefined,
  files: () => [],
  url: ({ folder }) => pathToFileURL(folder).href,
  create: createFileSink,
  probe: probeFolder,
} satisfies SinkType<FileSinkConfig>
