/** Opens real spools in temporary folders, and stands in for broker and sink in their tests. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { type Lane, type Message, reusableMessage } from '../../gateway/ports/appender.ts'
import type { LoadedBatch } from '../../gateway/ports/stream-queue.ts'
import { gapHeader, httpEncoder } from '../../gateway/sink/http/encode.ts'
import { BROKEN_RULE } from '../../gateway/spool/commit/commit-contents.ts'
import type { TakeOwnership } from '../../gateway/spool/disk/owner.ts'
import type { SpoolEvent } from '../../gateway/spool/events.ts'
import type { SpoolQueue } from '../../gateway/spool/queue/queue.ts'
import { Spool, type SpoolOptions } from '../../gateway/spool/spool.ts'
import { httpSinkConfig, spoolConfig, streamConfig } from './configs.ts'

export const STREAM = streamConfig()

export const SINK = httpSinkConfig({ linger: 50 })

export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'sluice-test-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

export interface OpenedSpool {
  readonly spool: Spool
  readonly events: SpoolEvent[]
}

/**
 * Tests end gateways without ending their process, which would hold the lock on the folder until
 * its own end. The lock has tests of its own.
 */
export const unowned: TakeOwnership = async () => ({ release: async () => undefined })

export async function openSpool(
  dataDir: string,
  options: Partial<SpoolOptions> = {},
): Promise<OpenedSpool> {
  const events: SpoolEvent[] = []
  const spool = await Spool.open({
    dataDir,
    gatewayId: 'edge-01',
    hostName: 'edge-01',
    streams: { telemetry: STREAM },
    sinks: { cloud: SINK },
    config: spoolConfig(),
    emit: (event) => {
      if (event.type === 'spool.damage' && event.what.startsWith(BROKEN_RULE))
        throw new Error(event.what)
      events.push(event)
    },
    takeOwnership: unowned,
    ...options,
  })
  return { spool, events }
}

export function message(payload: string | Uint8Array, fields: Partial<Message> = {}): Message {
  const bytes = Buffer.from(payload as string)
  return {
    ...reusableMessage(),
    payload: bytes,
    end: bytes.length,
    receivedAtMs: Date.parse('2026-11-23T03:05:00.123Z'),
    arrivedMs: performance.now(),
    fate: 'kept',
    ...fields,
  }
}

/** Lanes of all streams whose name is given, as the broker would make them. */
export function lanes(
  spool: Spool,
  device: string,
  topic: string,
  names?: readonly string[],
): Lane[] {
  return spool.appender.streams
    .filter((stream) => !names || names.includes(stream.name))
    .map((stream) => ({ stream, envelope: stream.envelope(device, topic) }))
}

/** Resolves when the ticket is durable. */
export function durable(spool: Spool, ticket: number): Promise<void> {
  if (spool.appender.durableTicket >= ticket) return Promise.resolve()
  return new Promise((resolve) => {
    spool.appender.onDurable((at) => {
      if (at >= ticket) resolve()
    })
  })
}

export function queueOf(spool: Spool, stream = 'telemetry'): SpoolQueue {
  const queue = spool.queues.find((q) => q.stream === stream)
  if (!queue) throw new Error(`no queue ${stream}`)
  return queue
}

export const ENCODER = httpEncoder({ format: { kind: 'ndjson' }, compression: 'gzip' })

export async function bodyOf({ batch }: LoadedBatch): Promise<Buffer> {
  return Buffer.concat((await batch.stitched('gzip')).chunks)
}

/** What the batch says of gaps, as HTTP would; null: nothing. */
export function gapsOf({ batch }: LoadedBatch): string | null {
  return gapHeader(batch.gaps, batch.spoolId)
}

export async function linesOf(
  batch: LoadedBatch,
): Promise<Array<{ id: string; seq: number; payload: unknown }>> {
  return gunzipSync(await bodyOf(batch))
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { id: string; seq: number; payload: unknown })
}

/** Pins up to so many records from the head of one identity; null: nothing is pending. */
export async function pinNext(queue: SpoolQueue, maxRecords: number): Promise<LoadedBatch | null> {
  const runs = queue.ahead(maxRecords)
  const first = runs[0]
  if (!first) return null
  let recordCount = 0
  let lastSeq = first.firstSeq
  for (const run of runs) {
    if (run.spoolId !== first.spoolId || recordCount >= maxRecords) break
    const take = Math.min(run.recordCount, maxRecords - recordCount)
    recordCount += take
    lastSeq = run.firstSeq + take - 1
  }
  const { spoolId, firstSeq } = first
  const { pin, durable: pinned } = queue.pinBatch(
    { spoolId, firstSeq, lastSeq, recordCount },
    ENCODER,
  )
  await pinned
  return await queue.load(pin, ENCODER)
}

export async function settleAll(queue: SpoolQueue, batch: LoadedBatch): Promise<void> {
  await queue.settle({
    throughSeq: batch.pin.lastSeq,
    refused: [],
    deadLetter: [],
    gapsReported: true,
    keepOuterLastSeq: null,
  })
}
