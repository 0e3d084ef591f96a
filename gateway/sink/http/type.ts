/** Batches as requests: see README.md. */
import { hideUrl } from '../../shared/text/hide-url.ts'
import type { SinkType } from '../sink-type.ts'
import { type HttpSinkConfig, httpFiles, httpKeys } from './config.ts'
import { checkHttpSink } from './config-checks.ts'
import { CONTRACT_PROMISE } from './encode.ts'
import { createHttpSink } from './http-sink.ts'
import { probeSink } from './probe.ts'
import { requestHead } from './request.ts'

export const httpType = {
  keys: httpKeys,
  check: checkHttpSink,
  files: httpFiles,
  url: ({ url }) => hideUrl(url),
  promise: () => CONTRACT_PROMISE,
  preview: async ({ url }, batch) => {
    const { chunks, byteLength } = await batch.stitched('identity')
    const head = requestHead(new URL(url), batch, { encoding: 'identity', byteLength }, [])
    return `${head.replaceAll('\r\n', '\n')}${Buffer.concat(chunks).toString()}`
  },
  create: createHttpSink,
  probe: ({ name, config }) => probeSink({ name, config }),
} satisfies SinkType<HttpSinkConfig>
