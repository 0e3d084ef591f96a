/** A pinned batch as a sink reads it: stitched or record by record, under one fingerprint or another. */
import { gunzipSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { MAX_NOTE_BYTES, type SinkRecord } from '../../../gateway/ports/sink.ts'
import { isSameBatch, type LoadedBatch } from '../../../gateway/ports/stream-queue.ts'
import { httpEncoder } from '../../../gateway/sink/http/encode.ts'
import type { Spool } from '../../../gateway/spool/spool.ts'
import { heldStores } from '../../support/held-store.ts'
import {
  bodyOf,
  durable,
  ENCODER,
  lanes,
  message,
  openSpool,
  pinNext,
  queueOf,
} from '../../support/spool-fixture.ts'
import { useFolder } from '../../support/spool-test.ts'

const folder = useFolder()
const IDENTITY = httpEncoder({ format: { kind: 'ndjson' }, compression: 'none' })
const BINARY = Uint8Array.from([0xff, 0x00, 0x80])
const PAYLOADS: ReadonlyArray<string | Uint8Array> = [
  '{"n":1}',
  '"a string"',
  BINARY,
  'no JSON',
  `{"text":"${'x'.repeat(12_000)}"}`,
  '[]',
]

/** A commit a payload: small, large and uncompressed blocks. */
async function fill(spool: Spool): Promise<void> {
  const to = lanes(spool, 'press-7', 'plant/"7"/temp')
  for (const payload of PAYLOADS) await durable(spool, spool.appender.append(to, message(payload)))
}

async function recordsOf({ batch }: LoadedBatch): Promise<SinkRecord[]> {
  const records: SinkRecord[] = []
  for await (const record of batch.records()) records.push(record)
  return records
}

it('its records are its lines, taken apart, whatever the payload', async () => {
  const { spool } = await openSpool(folder.path)
  await fill(spool)
  const loaded = await pinNext(queueOf(spool), 100)
  if (!loaded) throw new Error('nothing pending')
  const records = await recordsOf(loaded)
  expect(records.map(({ payloadKind }) => payloadKind)).toEqual([
    'json',
    'json',
    'bytes',
    'bytes',
    'json',
    'json',
  ])
  for (const [i, { payload }] of records.entries())
    expect(Buffer.from(payload)).toEqual(Buffer.from(PAYLOADS[i] as string))
  expect(records[1]).toMatchObject({
    id: `edge-01:${spool.spoolId}:telemetry:2`,
    seq: 2,
    device: 'press-7',
    topic: 'plant/"7"/temp',
    qos: 1,
    receivedAtMs: Date.parse('2026-11-23T03:05:00.123Z'),
  })
  expect(loaded.batch.receivedAtMs).toBe(records[0]?.receivedAtMs)
  const lines = Buffer.concat(records.map(({ line }) => line))
  expect(lines).toEqual(gunzipSync(await bodyOf(loaded)))
  const plain = await loaded.batch.stitched('identity')
  expect(Buffer.concat(plain.chunks)).toEqual(lines)
  expect(plain.byteLength).toBe(lines.length)
  await spool.stop()
})

it('of a slice the same, and a sink that reads records pays for no body', async () => {
  const { spool } = await openSpool(folder.path)
  const to = lanes(spool, 'd', 't')
  let ticket = 0
  for (let n = 1; n <= 300; n++) ticket = spool.appender.append(to, message(`{"n":${n}}`))
  await durable(spool, ticket)
  const queue = queueOf(spool)
  const { spoolId } = spool
  const reader = { ...ENCODER, stitches: null }
  const { pin } = queue.pinBatch({ spoolId, firstSeq: 1, lastSeq: 70, recordCount: 70 }, reader)
  const loaded = await queue.load(pin, reader)
  if (!loaded) throw new Error('damaged')
  const { batch } = loaded
  expect((await recordsOf(loaded)).map(({ seq }) => seq)).toEqual(loaded.seqs())
  expect(batch.bodyBytes).toBe(batch.rawBytes)
  const stitched = await queue.load(pin, ENCODER)
  expect(stitched?.batch).toMatchObject({ crc32: batch.crc32, rawBytes: batch.rawBytes })
  const bytes = async (of: LoadedBatch): Promise<Buffer> =>
    Buffer.concat((await of.batch.stitched('gzip')).chunks)
  expect(stitched && (await bytes(stitched))).toEqual(await bytes(loaded))
  await spool.stop()
})

it('I9: gaps that came behind a pin wait for the next batch, in whatever form the pinned one goes on', async () => {
  const stores = heldStores()
  const first = await openSpool(folder.path, { openStore: stores.openStore })
  await fill(first.spool)
  await pinNext(queueOf(first.spool), 3)
  await stores.crash()

  // Numbers that the killed process had leased will never come.
  const { spool } = await openSpool(folder.path)
  const queue = queueOf(spool)
  expect(queue.spool.state.gaps.length).toBeGreaterThan(0)
  const { pin } = queue.reencode(IDENTITY)
  expect(pin.gapCount).toBe(0)
  expect((await queue.load(pin, IDENTITY))?.batch.gaps).toEqual([])
  await spool.stop()
})

it('I4: a pin keeps its fingerprint over a restart, and under another one tells the former', async () => {
  const first = await openSpool(folder.path)
  await fill(first.spool)
  const pinned = await pinNext(queueOf(first.spool), 3)
  expect(pinned?.batch).toMatchObject({ fingerprint: 'http:ndjson:gzip', formerFingerprints: [] })
  await first.spool.stop()

  const second = await openSpool(folder.path)
  expect(queueOf(second.spool).pin).toEqual(pinned?.pin)
  await queueOf(second.spool).reencode(IDENTITY).durable
  await second.spool.stop()

  const { spool } = await openSpool(folder.path)
  const queue = queueOf(spool)
  const loaded = queue.pin && (await queue.load(queue.pin, IDENTITY))
  const { firstSeq, lastSeq, recordCount, outerLastSeq } = pinned?.pin ?? {}
  expect(queue.pin).toMatchObject({ firstSeq, lastSeq, recordCount, outerLastSeq })
  expect(loaded?.batch).toMatchObject({
    fingerprint: 'http:ndjson:identity',
    formerFingerprints: ['http:ndjson:gzip'],
    crc32: pinned?.batch.crc32,
    bodyBytes: pinned?.batch.rawBytes,
  })
  await spool.stop()
})

it('a note of a batch is durable, and gone with the batch, its form, or a part of it', async () => {
  const first = await openSpool(folder.path)
  await fill(first.spool)
  const pinned = await pinNext(queueOf(first.spool), 3)
  expect(pinned?.batch.note).toBe(null)
  await pinned?.batch.keepNote('released')
  await expect(pinned?.batch.keepNote('x'.repeat(MAX_NOTE_BYTES + 1))).rejects.toThrow(/1025 bytes/)
  await first.spool.stop()

  const { spool } = await openSpool(folder.path)
  const queue = queueOf(spool)
  if (queue.pin === null) throw new Error('the pin is gone')
  const noted = await queue.load(queue.pin, ENCODER)
  expect(noted?.batch.note).toBe('released')
  expect(isSameBatch(queue.pin, pinned?.pin ?? queue.pin)).toBe(true)
  await queue.split(queue.pin).durable
  expect(queue.pin.note).toBe('released')
  const { spoolId, firstSeq } = queue.pin
  await queue.split({ spoolId, firstSeq, lastSeq: firstSeq, recordCount: 1 }).durable
  expect(queue.pin.note).toBeUndefined()
  await expect(noted?.batch.keepNote('late')).rejects.toThrow(/not in flight/)
  const part = await queue.load(queue.pin, ENCODER)
  await part?.batch.keepNote('again')
  const { pin } = queue.reencode(IDENTITY)
  expect(pin.note).toBeUndefined()
  await expect(part?.batch.keepNote('late')).rejects.toThrow(/not in flight/)
  await spool.stop()
})

it('while its records are read others have their turn, for each 64 KiB of them', async () => {
  const { spool } = await openSpool(folder.path)
  const to = lanes(spool, 'press-7', 'plant/7/temp')
  const payload = message(`{"text":"${'x'.repeat(40_000)}"}`)
  for (let n = 0; n < 20; n += 1) await durable(spool, spool.appender.append(to, payload))
  const loaded = await pinNext(queueOf(spool), 100)
  if (!loaded) throw new Error('nothing pending')
  let turns = 0
  let isRead = false
  const turn = (): void => {
    turns += 1
    if (!isRead) setImmediate(turn)
  }
  setImmediate(turn)
  expect(await recordsOf(loaded)).toHaveLength(20)
  isRead = true
  expect(loaded.batch.rawBytes).toBeGreaterThan(20 * 40_000)
  expect(turns).toBeGreaterThanOrEqual(9)
  await spool.stop()
})
