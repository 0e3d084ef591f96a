/**
 * The process of a conformance run that is killed: a sink of a type, batches of one record in their
 * order, each until it is acked.
 */
import { createFileSink } from '../../gateway/sink/file/sink.ts'
import { createHttpSink } from '../../gateway/sink/http/http-sink.ts'
import { batchOf, never } from './http/batches.ts'

const { type, config, from, to } = JSON.parse(process.argv[2] ?? '')
const options = { name: 'child', config, emit: () => undefined }
const sink = type === 'file' ? createFileSink(options) : createHttpSink(options)
for (let n = from; n <= to; n++) {
  for (;;) {
    const answer = await sink.send(batchOf(n, n), never())
    if (answer.kind === 'verdicts') break
  }
  process.stdout.write(`acked ${n}\n`)
}
await sink.close()
