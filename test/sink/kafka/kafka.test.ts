/**
 * The Kafka sink. Its client wants a newer Node than the gateway: what needs the client (the folder
 * `newer`, the suite of the sink port among it) runs under one in a process of its own.
 */

import { stripVTControlCharacters } from 'node:util'
import { afterEach, expect, test } from 'vitest'
import { errorMessage } from '../../../gateway/shared/errors.ts'
import type { SinkEvent } from '../../../gateway/sink/events.ts'
import { createKafkaSink } from '../../../gateway/sink/kafka/sink.ts'
import { reapProcesses, runToEnd } from '../../support/process.ts'
import { sourcePath } from '../../support/source-path.ts'
import { missingLine, missingTools, toolsAreRequired } from '../../support/tools.ts'
import { batchOf, never } from '../http/batches.ts'
import { kafkaSinkConfig } from './configs.ts'
import { type NewerNode, newerNode } from './newer-node.ts'

const SUITE_MS = 120_000

afterEach(reapProcesses)

/** @throws what is missing, in words */
function surroundings(): NewerNode {
  const missing = missingTools(['npm', 'gcc'])
  if (missing.length > 0) throw new Error(missingLine(missing))
  return newerNode()
}

test(
  'under a newer Node, with the client and a mock cluster',
  async (context) => {
    let newer: NewerNode
    try {
      newer = surroundings()
    } catch (error) {
      if (toolsAreRequired()) throw error
      context.skip(errorMessage(error).slice(0, 200))
      return
    }
    const vitest = sourcePath('node_modules/vitest/vitest.mjs')
    const config = sourcePath('test/sink/kafka/vitest.config.ts')
    const args = [vitest, 'run', '--config', config]
    const options = { env: newer.env, timeoutMs: SUITE_MS }
    const { exit, stdout, stderr } = await runToEnd(newer.path, args, options)
    expect(exit.code, `${stdout}\n${stderr}`).toBe(0)
    expect(stdout).toMatch(/Tests\s.*\d+ passed/)
  },
  SUITE_MS,
)

test(
  'its example starts a gateway with the client there',
  async (context) => {
    let newer: NewerNode
    try {
      newer = surroundings()
    } catch (error) {
      if (toolsAreRequired()) throw error
      context.skip(errorMessage(error).slice(0, 200))
      return
    }
    const vitest = sourcePath('node_modules/vitest/vitest.mjs')
    const config = sourcePath('test/vitest.config.ts')
    const file = sourcePath('test/docs/examples.test.ts')
    const args = [vitest, 'run', '--config', config, file, '-t', 'kafka.yaml']
    const options = { env: newer.env, timeoutMs: SUITE_MS }
    const { exit, stdout, stderr } = await runToEnd(newer.path, args, options)
    expect(exit.code, `${stdout}\n${stderr}`).toBe(0)
    expect(stripVTControlCharacters(stdout)).toMatch(/Tests\s+1 passed/)
  },
  SUITE_MS,
)

test('without the client everything is kept, and the command is named', async () => {
  const events: SinkEvent[] = []
  const config = kafkaSinkConfig({})
  const emit = (event: SinkEvent): void => void events.push(event)
  const sink = createKafkaSink({ name: 'cluster', config, emit })
  sink.start()
  const detail = /@platformatic\/kafka.*npm install --no-save --save-prod @platformatic\/kafka@2/
  expect(events[0]).toMatchObject({ type: 'sink.package-missing', sink: 'cluster' })
  const answer = await sink.send(batchOf(1, 3), never())
  expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
  for (const said of [events[0], answer])
    expect(said && 'detail' in said && said.detail).toMatch(detail)
  await sink.close()
})
