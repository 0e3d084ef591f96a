/** Batches as requests: see README.md. */
import { hideUrl } from '../../shared/text/hide-url.ts'
import type { SinkType } from '../sink-type.ts'
import { type HttpSinkConfig, httpFiles, httpKeys } from './config.ts'
import { checkHttpSink } from './config-checks.ts'
import { previewRequest } from './formats/preview.ts'
import { promiseOf } from './formats/registry.ts'
import { createHttpSink } from './http-sink.ts'
import { probeSink } from './probe.ts'

export const httpType = {
  keys: httpKeys,
  check: checkHttpSink,
  files: httpFiles,
  url: ({ url }) => hideUrl(url),
  promise: (config) => promiseOf(config),
  preview: previewRequest,
  create: createHttpSink,
  probe: ({ name, config }) => probeSink({ name, config }),
} satisfies SinkType<HttpSinkConfig>
