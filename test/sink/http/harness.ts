/** A web service that keeps one number per queue, as a receiver for the conformance suite. */
import { createHttpSink } from '../../../gateway/sink/http/http-sink.ts'
import { OneNumberReceiver } from '../../support/model-receivers.ts'
import { type ScriptedRequest, ScriptedSink, type Step } from '../../support/scripted-sink.ts'
import type { SinkHarness } from '../conformance.ts'
import { sinkConfig } from './batches.ts'

export const httpHarness: SinkHarness = {
  promise: 'exactly once',
  open: async () => {
    const gaps = new Set<string>()
    let refused: number | null = null
    let last: number | null = null
    let fault: ((answer: () => Step) => Step) | null = null
    const receiver = new OneNumberReceiver({
      refuses: ({ seq }) => seq === refused,
      room: () => (last === null ? Number.POSITIVE_INFINITY : last - receiver.stored.length),
    })
    const answer = ({ headers, body }: ScriptedRequest): Step => {
      if (body === null) return { drop: 'before' }
      const text = (name: string): string => String(headers[name])
      const gap = headers['sluice-gap']
      if (gap !== undefined) gaps.add(String(gap))
      const said = receiver.receive({
        gateway: text('sluice-gateway'),
        spool: text('sluice-spool'),
        stream: text('sluice-stream'),
        firstSeq: Number(text('sluice-first-seq')),
        lastSeq: Number(text('sluice-last-seq')),
        recordCount: Number(text('sluice-record-count')),
        gap: gap === undefined ? null : String(gap),
        body: body.toString(),
      })
      return said.body === null ? { status: said.status } : { ...said, body: { ...said.body } }
    }
    const server = await ScriptedSink.start({
      script: (request) => (fault === null ? answer(request) : fault(() => answer(request))),
    })
    const config = sinkConfig(server.url)
    const until = (step: Step) => () => {
      fault = () => step
      return () => {
        fault = null
      }
    }
    return {
      sink: () => createHttpSink({ name: 'cloud', config, emit: () => undefined }),
      config: { ...config },
      ids: () => receiver.stored.map(({ id }) => id),
      gaps: () => [...gaps],
      outage: until({ drop: 'before' }),
      trouble: until({ status: 401 }),
      loseAnswer: () => {
        fault = (answerTo) => {
          fault = null
          answerTo()
          return { drop: 'after' }
        }
      },
      takeThrough: (seq) => {
        last = seq
      },
      refuse: (seq) => {
        refused = seq
        return () => {
          refused = null
        }
      },
      close: () => server.close(),
    }
  },
}
