/** A store of S3's, by its documentation, as a receiver for the conformance suite. */
import { gunzipSync } from 'node:zlib'
import { createObjectSink } from '../../../gateway/sink/object/sink.ts'
import type { SinkHarness } from '../conformance.ts'
import { objectSinkConfig, SIGNED } from './configs.ts'
import { S3Model } from './s3-model.ts'

export const objectHarness: SinkHarness = {
  promise: 'exactly once',
  open: async () => {
    const model = await S3Model.start()
    const config = objectSinkConfig({ url: model.url, auth: SIGNED })
    return {
      sink: () => createObjectSink({ name: 'archive', config, emit: () => undefined }),
      config: { ...config },
      ids: () => idsIn(model),
      gaps: () => model.texts(/\.gaps\.json$/),
      outage: () => {
        model.mishap = () => ({ cut: 'before' })
        return () => {
          model.mishap = null
        }
      },
      trouble: () => {
        model.buckets.delete('archive')
        return () => void model.buckets.add('archive')
      },
      loseAnswer: () => {
        model.mishap = ({ method }) => {
          if (method !== 'PUT') return null
          model.mishap = null
          return { cut: 'after' }
        }
      },
      takeThrough: null,
      refuse: null,
      close: () => model.close(),
    }
  },
}

/** In the order of their names. */
export function idsIn(model: S3Model): string[] {
  return model.texts(/\.ndjson\.gz$/).flatMap((text) => {
    const lines = gunzipSync(Buffer.from(text, 'latin1')).toString()
    return [...lines.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id ?? '')
  })
}
