/** A nats-server as a receiver, for the conformance suite. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNatsSink } from '../../../gateway/sink/nats/sink.ts'
import type { SinkHarness } from '../conformance.ts'
import { natsSinkConfig } from './configs.ts'
import { NatsProxy } from './proxy.ts'
import { idsOf, NATS_TOOLS, NatsAdmin, startServer } from './server.ts'

const SUBJECTS = ['sluice.>']

export const natsBatchHarness = harnessOf('batch')
export const natsRecordHarness = harnessOf('record')

function harnessOf(message: 'batch' | 'record'): SinkHarness {
  return {
    promise: message === 'batch' ? 'exactly once' : 'at least once',
    tools: NATS_TOOLS,
    open: async () => {
      const folder = mkdtempSync(join(tmpdir(), 'sluice-nats-conformance-'))
      const server = await startServer(folder)
      const admin = await NatsAdmin.to([server.port])
      await admin.makeStream({ subjects: SUBJECTS })
      const proxy = await NatsProxy.to(server.port)
      const servers = [`127.0.0.1:${proxy.port}`]
      const config = natsSinkConfig({ servers, message, timeout: 3000, body: 'record' })
      return {
        sink: () => createNatsSink({ name: 'nats', config, emit: () => undefined }),
        config: { ...config },
        ids: async () => idsOf(await admin.read()),
        gaps: async () =>
          (await admin.read()).flatMap(({ headers }) => headers.get('Sluice-Gap') ?? []),
        outage: async () => {
          await proxy.refuse()
          return () => proxy.listen()
        },
        trouble: async () => {
          await admin.changeStream({ subjects: ['elsewhere.>'] })
          return () => admin.changeStream({ subjects: SUBJECTS })
        },
        loseAnswer: () => proxy.loseAnswer(),
        takeThrough: null,
        refuse: null,
        close: async () => {
          await admin.close()
          await proxy.refuse()
          await server.reap()
          rmSync(folder, { recursive: true, force: true })
        },
      }
    },
  }
}
