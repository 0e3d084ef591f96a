/**
 * A stream that is choosing a leader: a replica that was away tells of it, as old as it knows it
 * (seen with nats-server 2.9.10, beside a full processor). A server without JetStream, and answers as they
 * came.
 */
import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { connect } from '@nats-io/transport-node'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { freePorts } from '../../../device-sim/free-ports.ts'
import { createNatsSink } from '../../../gateway/sink/nats/sink.ts'
import { reapProcesses, startProcess } from '../../support/process.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { findTool } from '../../support/tools.ts'
import { batchOf, never } from '../http/batches.ts'
import { natsSinkConfig } from './configs.ts'
import { NATS_TOOLS, STREAM } from './server.ts'

const START_MS = 20_000
const API = '$JS.API.STREAM'
const CONFIG = {
  name: STREAM,
  subjects: ['sluice.>'],
  retention: 'limits',
  max_msgs: -1,
  max_bytes: -1,
  max_age: 0,
  discard: 'old',
  storage: 'file',
  num_replicas: 3,
  duplicate_window: 120_000_000_000,
}
const STALE = { messages: 10, bytes: 5_907, first_seq: 1, last_seq: 10, consumer_count: 1 }
const REPLICAS = ['n0', 'n1', 'n2'].map((name) => ({ name, current: false, active: 0, lag: 10 }))
const NO_MESSAGE = { error: { code: 404, err_code: 10_037, description: 'no message found' } }

describeWithTool(NATS_TOOLS, 'a stream without a leader', () => {
  let port: number
  let engine: NatsConnection
  let leader: string | undefined
  let published = 0

  function answers(subject: string, answer: (message: Msg) => unknown): void {
    engine.subscribe(subject, {
      callback: (_, message) => void message.respond(JSON.stringify(answer(message))),
    })
  }
  beforeEach(async () => {
    ;[port = 0] = await freePorts(1)
    const server = startProcess(findTool('nats-server') ?? '', ['-a', '127.0.0.1', '-p', `${port}`])
    await server.waitForLine('Server is ready', START_MS)
    engine = await connect({ servers: [`127.0.0.1:${port}`] })
    leader = undefined
    published = 0
    answers(`${API}.INFO.${STREAM}`, () => ({
      config: CONFIG,
      state: STALE,
      cluster: { name: 'sluice', ...(leader === undefined ? {} : { leader }), replicas: REPLICAS },
    }))
    answers(`${API}.MSG.GET.${STREAM}`, () => NO_MESSAGE)
    answers('sluice.>', () => ({ stream: STREAM, seq: STALE.last_seq + ++published }))
    await engine.flush()
  })
  afterEach(async () => {
    await engine.close()
    await reapProcesses()
  })

  test('I4: what a replica says of it decides nothing; with a leader the batch goes', async () => {
    const config = natsSinkConfig({ servers: [`127.0.0.1:${port}`], timeout: 2_000 })
    const sink = createNatsSink({ name: 'nats', config, emit: () => undefined })
    try {
      const answer = await sink.send(batchOf(1, 3), never())
      expect(answer).toMatchObject({ kind: 'retry', scope: 'sink', answered: true })
      expect((answer as { detail: string }).detail).toMatch(/stream SLUICE has no leader/)
      expect(published).toBe(0)
      leader = 'n1'
      expect(await sink.send(batchOf(1, 3), never())).toMatchObject({
        kind: 'verdicts',
        listed: [],
      })
      expect(published).toBeGreaterThan(0)
    } finally {
      await sink.close()
    }
  })
})
