/**
 * The Kafka sink. Its client wants a newer Node than the gateway: what needs the client (the folder
 * `newer`, the suite of the sink port among it) runs under one in a process of its own.
 */

import { stripVTControlCharacters } from 'node:util'
import { afterEach, expect, type TestContext, test } from 'vitest'
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

/** Runs test files under the newer Node; where it cannot be had, the test is skipped with the reason. */
async function runUnderNewer(context: TestContext, args: readonly string[]): Promise<string> {
  let newer: NewerNode
  try {
    newer = surroundings()
  } catch (error) {
    if (toolsAreRequired()) throw error
    return context.skip(errorMessage(error).slice(0, 200))
  }
  const vitest = [sourcePath('node_modules/vitest/vitest.mjs'), 'run', '--config']
  const options = { env: newer.env, timeoutMs: SUITE_MS }
  const { exit, stdout, stderr } = await runToEnd(newer.path, [...vitest, ...args], options)
  expect(exit.code, `${stdout}\n${stderr}`).toBe(0)
  return stdout
}

test(
  'under a newer Node, with the client and a mock cluster',
  async (context) => {
    const stdout = await runUnderNewer(context, [sourcePath('test/sink/kafka/vitest.config.ts')])
    expect(stdout).toMatch(/Tests\s.*\d+ passed/)
  },
  SUITE_MS,
)

test(
  'its example starts a gateway with the client there',
  async (context) => {
    const file = sourcePath('test/docs/examples.test.ts')
    const args = [sourcePath('test/vitest.config.ts'), file, '-t', 'kafka.yaml']
    const stdout = await runUnderNewer(context, args)
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
