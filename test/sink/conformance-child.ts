/**
 * The process of a conformance run that is killed: a sink of a type, batches of one record in their
 * order, each until it is acked.
 */
import { sinkTypeOf } from '../../gateway/sink/registry.ts'
import { batchOf, never } from './http/batches.ts'

const { config, from, to } = JSON.parse(process.argv[2] ?? '')
const sink = sinkTypeOf(config).create({ name: 'child', config, emit: () => undefined })
for (let n = from; n <= to; n++) {
  for (;;) {
    const answer = await sink.send(batchOf(n, n), never())
    if (answer.kind === 'verdicts') break
  }
  process.stdout.write(`acked ${n}\n`)
}
await sink.close()
