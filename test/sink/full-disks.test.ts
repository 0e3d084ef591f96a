/**
 * A receiver whose disk is full, for real: a small file system under the real server. Whatever it
 * says then, no record is refused for it, and what was acked is there once there is room again. What
 * each server says, and whether it has to be started again, is in the document of its type.
 */
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect } from 'vitest'
import type { SinkAnswer } from '../../gateway/ports/sink.ts'
import { formatKey } from '../../gateway/sink/http/formats/registry.ts'
import { createHttpSink } from '../../gateway/sink/http/http-sink.ts'
import { createMqttSink } from '../../gateway/sink/mqtt/sink.ts'
import { createNatsSink } from '../../gateway/sink/nats/sink.ts'
import { createObjectSink } from '../../gateway/sink/object/sink.ts'
import { createPostgresSink } from '../../gateway/sink/postgres/sink.ts'
import type { ConfiguredSink } from '../../gateway/sink/sink-type.ts'
import { type FaultyDisk, mountedDisk } from '../support/faulty-disk.ts'
import { reapProcesses } from '../support/process.ts'
import { testWithTool } from '../support/tool-tests.ts'
import { batchOf, never, sinkConfig } from './http/batches.ts'
import { basic, INFLUXDB_TOOLS, InfluxDb } from './http/receivers/influxdb.ts'
import { VICTORIA_TOOLS, VictoriaMetrics } from './http/receivers/victoria-metrics.ts'
import { mqttSinkConfig } from './mqtt/configs.ts'
import { Mosquitto, Subscriber } from './mqtt/mosquitto.ts'
import { natsSinkConfig } from './nats/configs.ts'
import { idsOf, NATS_TOOLS, NatsAdmin, startServer } from './nats/server.ts'
import { objectSinkConfig } from './object/configs.ts'
import { DAV_USER, NginxDav } from './object/servers.ts'
import { freshTables } from './postgres/harness.ts'
import { POSTGRES_TOOLS, PostgresServer } from './postgres/server.ts'

const MIB = 1024 * 1024
const BATCH_RECORDS = 500
/** How long a server may go on with what it has before it notices. */
const NOTICED_MS = 20_000
const MENDED_MS = 30_000
const RETRY_MS = 100
const CASE_MS = 120_000

interface Opened {
  readonly sink: ConfiguredSink
  ids(): Promise<string[]>
  /** What an operator does once there is room; absent: nothing is needed. */
  restart?(): Promise<void>
}

interface Case {
  readonly tools: readonly string[]
  readonly diskBytes: number
  /** What somebody else leaves of it. */
  readonly leaveBytes?: number
  /** To a batch that has no room; null: it acks from memory, and goes on. */
  readonly says: Partial<Record<keyof SinkAnswer | 'code' | 'scope', string>> | null
  open(folder: string): Promise<Opened>
}

const emit = (): void => undefined
const closing: Array<() => Promise<unknown>> = []
let disk: FaultyDisk | null = null
afterEach(async () => {
  disk?.free()
  for (const close of closing.splice(0).reverse()) await close()
  await reapProcesses()
  disk?.remove()
  disk = null
})

const CASES: Readonly<Record<string, Case>> = {
  'nginx with its DAV module': {
    tools: ['nginx'],
    diskBytes: 8 * MIB,
    says: { kind: 'retry', scope: 'sink', code: '500' },
    open: async (folder) => {
      const store = await NginxDav.start(folder)
      const { user, password } = DAV_USER
      const auth = { kind: 'basic', user, password: { value: password } } as const
      const config = objectSinkConfig({ store: 'dav', url: store.url, auth, compression: 'none' })
      return {
        sink: createObjectSink({ name: 'share', config, emit }),
        ids: async () =>
          [
            ...store
              .texts(/\.ndjson$/)
              .join('')
              .matchAll(/"id":"([^"]+)"/g),
          ].map(([, id]) => id ?? ''),
      }
    },
  },
  PostgreSQL: {
    tools: POSTGRES_TOOLS,
    diskBytes: 160 * MIB,
    says: { kind: 'retry', scope: 'sink', code: '53100' },
    open: async (folder) => {
      const server = await PostgresServer.start({}, folder)
      closing.push(() => server.close())
      const { config, ask } = await freshTables(server)
      return {
        sink: createPostgresSink({ name: 'warehouse', config, emit }),
        ids: async () =>
          (await ask('select id from readings order by place')).map(({ id }) => String(id)),
      }
    },
  },
  'nats-server': {
    tools: NATS_TOOLS,
    diskBytes: 16 * MIB,
    says: { kind: 'retry' },
    open: async (folder) => {
      const server = await startServer(folder)
      const admin = await NatsAdmin.to([server.port])
      closing.push(() => admin.close())
      await admin.makeStream()
      const servers = [`127.0.0.1:${server.port}`]
      const config = natsSinkConfig({ servers, message: 'batch', timeout: 500 })
      return {
        sink: createNatsSink({ name: 'nats', config, emit }),
        ids: async () => idsOf(await admin.read()),
        // Its JetStream stands still until it is another process, and a SIGTERM waits for it.
        restart: async () => {
          await server.end('SIGKILL')
          await server.start()
          await admin.waitForLeader()
        },
      }
    },
  },
  'InfluxDB 1': {
    tools: INFLUXDB_TOOLS,
    diskBytes: 32 * MIB,
    says: { kind: 'hold', scope: 'sink', code: '400' },
    open: async (folder) => {
      const influx = await InfluxDb.start(join(folder, 'influx'))
      await influx.makeDatabase('plant')
      const authorization = { value: basic('right') }
      const sink = lineSink(`http://127.0.0.1:${influx.server.port}/write?db=plant`, {
        answers: { table: 'influx' },
        headers: { authorization },
      })
      return {
        sink,
        ids: async () =>
          (await influx.query('select * from readings', 'plant')).map(({ id }) => String(id)),
        restart: async () => {
          await influx.server.end('SIGTERM')
          await influx.server.begin()
        },
      }
    },
  },
  VictoriaMetrics: {
    tools: VICTORIA_TOOLS,
    diskBytes: 64 * MIB,
    // Below its -storage.minFreeDiskSpaceBytes it only reads; without any room at all it ends.
    leaveBytes: 8 * MIB,
    says: { kind: 'retry', scope: 'sink', code: '503' },
    open: async (folder) => {
      const metrics = await VictoriaMetrics.start(join(folder, 'victoria'))
      const url = `http://127.0.0.1:${metrics.server.port}/write?precision=ms`
      return {
        sink: lineSink(url, { answers: { table: 'victoria-metrics' } }),
        ids: async () =>
          (await metrics.series('readings_celsius')).map(({ labels: { id = '' } }) => id),
      }
    },
  },
  Mosquitto: {
    tools: ['mosquitto'],
    diskBytes: 8 * MIB,
    says: null,
    open: async (folder) => {
      const lines = ['persistence true', `persistence_location ${folder}/`]
      const save = ['autosave_on_changes true', 'autosave_interval 1']
      const broker = await Mosquitto.start(folder, [...lines, ...save])
      const reader = await Subscriber.start(broker.url)
      closing.push(() => reader.close())
      const config = mqttSinkConfig({ url: broker.url, message: 'record', version: '5', qos: 2 })
      return {
        sink: createMqttSink({ name: 'hub', config, emit }),
        ids: async () =>
          (await reader.readings()).map(({ text }) => (JSON.parse(text) as { id: string }).id),
      }
    },
  },
}

function lineSink(url: string, changes: Parameters<typeof sinkConfig>[1]): ConfiguredSink {
  const format = formatKey.parse({
    kind: 'influx',
    measurement: 'readings',
    tags: { id: '${id}' },
    precision: url.endsWith('=ms') ? 'ms' : 'ns',
    strings: 'leave-out',
  })
  const config = sinkConfig(url, { format, ...changes })
  return createHttpSink({ name: 'metrics', config, emit })
}

for (const [name, one] of Object.entries(CASES))
  testWithTool(
    one.tools,
    `I8: ${name}`,
    async (context) => {
      disk = mountedDisk(one.diskBytes) ?? context.skip('no file system can be mounted here')
      // Some servers run as another user.
      chmodSync(disk.folder, 0o755)
      mkdirSync(disk.dataDir, { mode: 0o755 })
      const opened = await one.open(disk.dataDir)
      closing.push(() => opened.sink.close())
      await expectKept(one, opened, disk)
    },
    CASE_MS,
  )

async function expectKept({ says, leaveBytes = 0 }: Case, opened: Opened, on: FaultyDisk) {
  const { fingerprint } = opened.sink.encoder
  const send = async (n: number): Promise<SinkAnswer> => {
    const first = (n - 1) * BATCH_RECORDS + 1
    const batch = batchOf(first, n * BATCH_RECORDS, { fingerprint })
    return await opened.sink.send(batch, never())
  }
  expect(await send(1)).toMatchObject(ACKED)
  on.fillForGood(leaveBytes)
  let n = 2
  if (says === null) {
    for (; n < 6; n++) expect(await send(n)).toMatchObject(ACKED)
  } else {
    const endMs = performance.now() + NOTICED_MS
    let answer = await send(n)
    while (answer.kind === 'verdicts' && performance.now() < endMs) {
      await sleep(RETRY_MS)
      answer = await send(++n)
    }
    for (let tries = 0; tries < 2; tries++) {
      expect(answer).toMatchObject(says)
      answer = await send(n)
    }
    expect(answer).toMatchObject({ kind: says.kind })
  }
  on.free()
  await opened.restart?.()
  const endMs = performance.now() + MENDED_MS
  for (let last = await send(n); last.kind !== 'verdicts'; last = await send(n)) {
    expect(['retry', 'hold']).toContain(last.kind)
    expect(performance.now(), JSON.stringify(last)).toBeLessThan(endMs)
    await sleep(RETRY_MS)
  }
  expect(await send(n + 1)).toMatchObject(ACKED)
  const ids = await opened.ids()
  expect(ids).toHaveLength((n + 1) * BATCH_RECORDS)
  expect(new Set(ids).size).toBe(ids.length)
}

const ACKED = { kind: 'verdicts', ackedThrough: null, listed: [] }
