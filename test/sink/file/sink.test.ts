/** What the file sink does with a folder, on real ones. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Batch, Sink, SinkAnswer } from '../../../gateway/ports/sink.ts'
import type { SinkEvent } from '../../../gateway/sink/events.ts'
import type { FileSinkConfig } from '../../../gateway/sink/file/config.ts'
import { fileEncoder } from '../../../gateway/sink/file/encode.ts'
import { createFileSink } from '../../../gateway/sink/file/sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { batchOf, expired, never, recordLine } from '../http/batches.ts'
import { fileSinkConfig } from './configs.ts'

let folder: string
const sinks: Sink[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-file-sink-'))
})
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close()
  rmSync(folder, { recursive: true, force: true })
})

function sinkOn(changes: Partial<FileSinkConfig> = {}): ConfiguredSink {
  const config = fileSinkConfig({ folder, minFreeBytes: 0, ...changes })
  const sink = createFileSink({ name: 'stick', config, emit: () => undefined, lookMs: 5 })
  sinks.push(sink)
  return sink
}

async function send(sink: Sink, batch: Batch): Promise<SinkAnswer> {
  return await sink.send(batch, never())
}

function files(of = folder): string[] {
  return readdirSync(of).toSorted()
}

function rightsOf(path: string): number {
  return statSync(path).mode & 0o7777
}

async function withUmask(umask: number, work: () => Promise<unknown>): Promise<void> {
  const before = process.umask(umask)
  try {
    await work()
  } finally {
    process.umask(before)
  }
}

const isAcked = { kind: 'verdicts', ackedThrough: null, listed: [] }

describe('a batch', () => {
  test('is a file with its bytes as they are', async () => {
    const batch = batchOf(1, 3)
    expect(await send(sinkOn(), batch)).toMatchObject(isAcked)
    const [name = '', ...others] = files()
    expect(others).toEqual([])
    expect(name).toMatch(/\.0{15}1-0{15}3\.[^.]+\.ndjson\.gz$/)
    const bytes = readFileSync(join(folder, name))
    expect(bytes.equals(batch.body)).toBe(true)
    expect(gunzipSync(bytes).toString()).toBe([1, 2, 3].map((seq) => recordLine(seq)).join(''))
  })

  test('again is acked, and its file stays as it is', async () => {
    const sink = sinkOn()
    await send(sink, batchOf(1, 3))
    const path = join(folder, files()[0] ?? '')
    const before = statSync(path, { bigint: true })
    expect(await send(sink, batchOf(1, 3))).toMatchObject(isAcked)
    expect(await send(sinkOn(), batchOf(1, 3))).toMatchObject(isAcked)
    const { ino, mtimeNs } = statSync(path, { bigint: true })
    expect({ ino, mtimeNs }).toEqual({ ino: before.ino, mtimeNs: before.mtimeNs })
    expect(files()).toHaveLength(1)
  })

  test('whose name has other bytes is held, and the file stays as it is', async () => {
    const sink = sinkOn()
    await send(sink, batchOf(1, 3))
    const path = join(folder, files()[0] ?? '')
    for (const bytes of [readFileSync(path).subarray(0, 10), Buffer.alloc(statSync(path).size)]) {
      writeFileSync(path, bytes)
      const answer = await send(sink, batchOf(1, 3))
      expect(answer).toMatchObject({ kind: 'hold', scope: 'stream', cloned: true })
      expect((answer as { detail: string }).detail).toContain('other bytes')
      expect(readFileSync(path).equals(bytes)).toBe(true)
    }
    renameSync(path, `${path}.odd`)
    expect(await send(sink, batchOf(1, 3))).toMatchObject(isAcked)
  })

  test('that is there as an earlier configuration wrote it is acked, and not written again', async () => {
    const former = fileEncoder({ compression: 'gzip', layout: 'flat' }).fingerprint
    const { fingerprint } = fileEncoder({ compression: 'none', layout: 'streams' })
    const sink = sinkOn({ compression: 'none', layout: 'streams' })
    await send(sinkOn(), batchOf(1, 3, { fingerprint: former }))
    const again = batchOf(1, 3, { fingerprint, formerFingerprints: [former, 'http:ndjson:gzip'] })
    expect(await send(sink, again)).toMatchObject(isAcked)
    expect(files()).toHaveLength(1)
    writeFileSync(join(folder, files()[0] ?? ''), 'something else')
    expect(await send(sink, again)).toMatchObject({ kind: 'hold', cloned: true })
    rmSync(join(folder, files()[0] ?? ''))
    expect(await send(sink, again)).toMatchObject(isAcked)
    expect(files(join(folder, 'telemetry'))).toEqual([expect.stringMatching(/\.ndjson$/)])
  })

  test('of a restored spool that is cut another way is there twice: counted, told, ids tell', async () => {
    const before = sinkOn()
    await send(before, batchOf(1, 60))
    await send(before, batchOf(61, 100))
    expect(before.stats.mayRepeat['other-names']).toBe(0)
    // As it was before these were delivered, and with another `maxBatchRecords`.
    const events: SinkEvent[] = []
    const config = fileSinkConfig({ folder, minFreeBytes: 0 })
    const emit = (event: SinkEvent): void => void events.push(event)
    const restored = createFileSink({ name: 'stick', config, emit })
    sinks.push(restored)
    for (const batch of [batchOf(1, 60), batchOf(61, 90), batchOf(91, 120), batchOf(121, 130)])
      expect(await send(restored, batch)).toMatchObject({ kind: 'verdicts' })
    expect(restored.stats.mayRepeat['other-names']).toBe(2)
    expect(events).toMatchObject([
      { type: 'sink.may-repeat', firstSeq: 61, lastSeq: 90 },
      { type: 'sink.may-repeat', firstSeq: 91, lastSeq: 120 },
    ])
    const lines = files().flatMap((name) =>
      gunzipSync(readFileSync(join(folder, name)))
        .toString()
        .trimEnd()
        .split('\n'),
    )
    expect(lines).toHaveLength(130 + 40)
    expect(new Set(lines).size).toBe(130)
  })

  test('whose name a pipe has is held, and no call waits for a writer', async () => {
    const batch = batchOf(1, 3)
    await send(sinkOn(), batch)
    const [name = ''] = files()
    rmSync(join(folder, name))
    execFileSync('mkfifo', [join(folder, name)])
    expect(await send(sinkOn(), batch)).toMatchObject({ kind: 'hold', scope: 'stream' })
  })

  test('with gaps has a file beside it that tells them', async () => {
    const batch = batchOf(10, 12, { gaps: [expired(4, 9)] })
    expect(await send(sinkOn(), batch)).toMatchObject(isAcked)
    const [gaps = '', data = ''] = files()
    expect(gaps.replace(/\.gaps\.json$/, '')).toBe(data.replace(/\.ndjson\.gz$/, ''))
    expect(JSON.parse(readFileSync(join(folder, gaps), 'utf8'))).toMatchObject({
      gateway: 'edge-01',
      firstSeq: 10,
      lastSeq: 12,
    })
  })

  test('replaces what a kill has left, of its own stream alone', async () => {
    const left = ['telemetry', 'events'].map(
      (stream) => `.edge-01.x.${stream}.0000000000000001-0000000000000003.f.ndjson.gz.tmp`,
    )
    for (const name of left) writeFileSync(join(folder, name), 'torn')
    await send(sinkOn(), batchOf(1, 3))
    expect(files().filter((name) => name.startsWith('.'))).toEqual(left.slice(1))
  })

  test.each([
    ['owner', 0o600, 0o700],
    ['group', 0o640, 0o750],
    ['everyone', 0o644, 0o755],
  ] as const)(
    'is readable by %s, with the folders around it, whatever the umask',
    async (readableBy, mode, folderMode) => {
      await withUmask(0o077, () => send(sinkOn({ readableBy, layout: 'days' }), batchOf(1, 3)))
      const day = join(folder, 'telemetry/2026-11-23')
      expect(rightsOf(join(day, files(day)[0] ?? ''))).toBe(mode)
      expect([dirname(day), day].map(rightsOf)).toEqual([folderMode, folderMode])
    },
  )

  test('gets readers into a folder that is there already, and takes no right from it', async () => {
    const path = join(folder, 'telemetry')
    const group = { readableBy: 'group', layout: 'streams' } as const
    const sent = async (rights: number) => {
      mkdirSync(path, { recursive: true })
      chmodSync(path, rights)
      await withUmask(0o077, () => send(sinkOn(group), batchOf(1, 3)))
      return rightsOf(path)
    }
    expect(await sent(0o700)).toBe(0o750)
    expect(await sent(0o2775)).toBe(0o2775)
  })

  test('changes no rights behind a link', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'sluice-file-sink-elsewhere-'))
    try {
      symlinkSync(elsewhere, join(folder, 'telemetry'))
      expect(
        await send(sinkOn({ readableBy: 'group', layout: 'streams' }), batchOf(1, 3)),
      ).toMatchObject(isAcked)
      expect(rightsOf(elsewhere)).toBe(0o700)
    } finally {
      rmSync(elsewhere, { recursive: true, force: true })
    }
  })
})

describe('a folder that cannot take it', () => {
  test('that is not there is held, never made, and used as soon as it is back', async () => {
    const sink = sinkOn()
    const away = `${folder}-away`
    renameSync(folder, away)
    const changed = new Promise<void>((resolve) => sink.onChange(resolve))
    const answer = await send(sink, batchOf(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
    expect((answer as { detail: string }).detail).toMatch(/ENOENT.*mount the disk/)
    expect(existsSync(folder)).toBe(false)
    renameSync(away, folder)
    await changed
    expect(await send(sink, batchOf(1, 3))).toMatchObject(isAcked)
  })

  test('without its marker is taken for the mount point of a disk that is gone', async () => {
    const sink = sinkOn({ marker: '.sluice' })
    const answer = await send(sink, batchOf(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
    expect((answer as { detail: string }).detail).toBe(
      `${folder} holds no .sluice; mount the disk; if it is mounted: touch ${folder}/.sluice; checked every second`,
    )
    expect(files()).toEqual([])
    const changed = new Promise<void>((resolve) => sink.onChange(resolve))
    writeFileSync(join(folder, '.sluice'), '')
    await changed
    expect(await send(sink, batchOf(1, 3))).toMatchObject(isAcked)
  })

  test('with less room than minFreeBytes is held', async () => {
    const answer = await send(sinkOn({ minFreeBytes: Number.MAX_SAFE_INTEGER }), batchOf(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
    expect((answer as { detail: string }).detail).toMatch(
      /bytes free, this batch takes .*make room/,
    )
    expect(files()).toEqual([])
  })

  test('that is a file is held', async () => {
    writeFileSync(join(folder, 'file'), '')
    const answer = await send(sinkOn({ folder: join(folder, 'file') }), batchOf(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
  })

  test('a folder where the file belongs is held', async () => {
    const sink = sinkOn()
    await send(sink, batchOf(1, 3))
    const path = join(folder, files()[0] ?? '')
    rmSync(path)
    mkdirSync(path)
    expect(await send(sink, batchOf(1, 3))).toMatchObject({ kind: 'hold' })
  })
})
