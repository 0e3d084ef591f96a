import { randomBytes } from 'node:crypto'
import { constants, inflateRawSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import {
  BlockDamagedError,
  type BlockHeader,
  Deflater,
  decodeBlockHeader,
  encodeBlock,
  inflateSegments,
  readBlock,
} from '../../../gateway/spool/codec/block.ts'
import { crc32 } from '../../../gateway/spool/codec/crc32.ts'

const deflater = new Deflater({ level: 1, concurrency: 2 })
/** In the thread pool, whatever the size. */
const pool = new Deflater({ level: 1, concurrency: 2, inPlaceBytes: 0 })
afterAll(() => {
  deflater.close()
  pool.close()
})

const inflate = (segments: Uint8Array): Buffer =>
  inflateRawSync(segments, { finishFlush: constants.Z_SYNC_FLUSH })

function ndjson(records: number): Buffer {
  return Buffer.from(
    Array.from({ length: records }, (_, n) => `{"seq":${n},"celsius":${n % 17}.5}\n`).join(''),
  )
}

async function block(raw: Buffer, codec: BlockHeader['codec'], changes: Partial<BlockHeader> = {}) {
  const header: BlockHeader = {
    spoolId: 'k3f9x2m7q4w8z',
    streamId: 65_535,
    firstSeq: 2 ** 53 - 1,
    recordCount: raw.toString('latin1').split('\n').length - 1,
    codec,
    rawBytes: raw.length,
    crc32: crc32(raw),
    oldestReceivedAtMs: -1,
    spoolTimeMs: 1_800_000_000_000.5,
    ...changes,
  }
  return {
    header,
    value: encodeBlock(header, codec === 'none' ? raw : await deflater.deflate(raw)),
  }
}

describe('a block', () => {
  it.each(['none', 'deflate'] as const)(
    'with codec %s gives back header and records',
    async (codec) => {
      const large = ndjson(10_000)
      expect((await readBlock((await block(large, codec)).value)).equals(large)).toBe(true)
      const raw = ndjson(500)
      const { header, value } = await block(raw, codec)
      const { bodyOffset, ...decoded } = decodeBlockHeader(value)
      expect(decoded).toEqual(header)
      const body = value.subarray(bodyOffset)
      expect((codec === 'none' ? body : inflate(body)).equals(raw)).toBe(true)
      expect((await readBlock(value)).equals(raw)).toBe(true)
    },
  )

  it('is read from the middle of other memory', async () => {
    const { value } = await block(ndjson(3), 'deflate')
    const around = Buffer.concat([Buffer.alloc(13, 7), value, Buffer.alloc(5, 7)])
    const view = new Uint8Array(around.buffer, around.byteOffset + 13, value.length)
    expect((await readBlock(view)).equals(ndjson(3))).toBe(true)
  })

  it.each(['none', 'deflate'] as const)(
    'I7: with codec %s, any changed bit is noticed by the header alone, without inflating',
    async (codec) => {
      const { value } = await block(ndjson(4), codec)
      for (let bit = 0; bit < value.length * 8; bit += 1) {
        const damaged = Buffer.from(value)
        damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(() => decodeBlockHeader(damaged), `bit ${bit}`).toThrow(BlockDamagedError)
      }
    },
  )

  it('I7: cut off anywhere, or with bytes behind it, it is refused with SLUICE_BLOCK_DAMAGED', async () => {
    const { value } = await block(ndjson(4), 'deflate')
    for (let end = 0; end < value.length; end += 1) {
      await expect(readBlock(value.subarray(0, end))).rejects.toMatchObject({
        code: 'SLUICE_BLOCK_DAMAGED',
      })
    }
    await expect(readBlock(Buffer.concat([value, Buffer.alloc(1)]))).rejects.toThrow(
      BlockDamagedError,
    )
  })

  it('I7: random bytes are refused', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        await expect(readBlock(bytes)).rejects.toThrow(BlockDamagedError)
      }),
    )
  })

  it('whose records are not those of its header is refused: length, CRC, count, missing line end', async () => {
    const raw = ndjson(10)
    const lies: Array<[string, Partial<BlockHeader>]> = [
      ['bytes', { rawBytes: raw.length + 1 }],
      ['larger than', { rawBytes: raw.length - 1 }],
      ['CRC of its records', { crc32: 1 }],
      ['10 records of 11', { recordCount: 11 }],
    ]
    for (const [reason, lie] of lies) {
      const { value } = await block(raw, 'deflate', lie)
      await expect(readBlock(value)).rejects.toThrow(reason)
      await expect(readBlock(value)).rejects.toThrow(BlockDamagedError)
    }
    const { value } = await block(raw.subarray(0, -1), 'none', { recordCount: 9 })
    await expect(readBlock(value)).rejects.toThrow('-1 records of 9')
  })

  it('is never inflated beyond the length in its header', async () => {
    const bomb = await deflater.deflate(Buffer.alloc(64 * 1024 * 1024))
    expect(bomb.length).toBeLessThan(1024 * 1024)
    await expect(inflateSegments(bomb, 1000)).rejects.toThrow(BlockDamagedError)
    await expect(inflateSegments(bomb, 2 ** 31)).rejects.toThrow('claims to hold')
    const { header } = await block(ndjson(3), 'none')
    // In place, and in the thread pool.
    for (const rawBytes of [1000, 1024 * 1024]) {
      const value = encodeBlock({ ...header, codec: 'deflate', rawBytes }, bomb)
      await expect(readBlock(value)).rejects.toThrow(BlockDamagedError)
      await expect(readBlock(value)).rejects.toThrow('larger than')
    }
  })

  it('is not written with a header that does not fit its body', async () => {
    const raw = ndjson(2)
    for (const wrong of [
      { rawBytes: 1 },
      { recordCount: 0 },
      { firstSeq: 0 },
      { spoolId: '' },
      { streamId: 65_536 },
    ]) {
      await expect(block(raw, 'none', wrong)).rejects.toThrow(RangeError)
    }
  })
})

describe('Deflater', () => {
  it('gives the same segment for the same bytes, whatever the stream deflated before', async () => {
    const one = new Deflater({ level: 1, concurrency: 1, inPlaceBytes: 0 })
    const raw = ndjson(2000)
    const first = await one.deflate(raw)
    await one.deflate(randomBytes(200_000))
    await one.deflate(ndjson(7))
    expect((await one.deflate(raw)).equals(first)).toBe(true)
    one.close()
  })

  it('gives segments that are one deflate stream when they stand behind each other', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 3000 }), { minLength: 1, maxLength: 6 }),
        async (raws) => {
          const segments = await Promise.all(raws.map((raw) => deflater.deflate(raw)))
          expect(inflate(Buffer.concat(segments)).equals(Buffer.concat(raws))).toBe(true)
          for (const [n, segment] of segments.entries()) {
            expect(inflate(segment).equals(Buffer.from(raws[n] as Uint8Array))).toBe(true)
          }
        },
      ),
      { numRuns: 60 },
    )
  })

  it('gives in place what it gives in the thread pool', async () => {
    const text = fc.integer({ min: 1, max: 200 }).map(ndjson)
    const noise = fc.uint8Array({ minLength: 1, maxLength: 34_000 })
    const full = fc.constant(Buffer.alloc(32 * 1024, 'a reading'))
    await fc.assert(
      fc.asyncProperty(fc.oneof(text, noise, full), async (raw) => {
        const inPlace = await deflater.deflate(raw)
        expect(inPlace.equals(await pool.deflate(raw))).toBe(true)
      }),
      { numRuns: 200 },
    )
  })

  it('takes input that does not compress and is larger than its output buffer', async () => {
    const raw = randomBytes(1_000_000)
    expect(inflate(await deflater.deflate(raw)).equals(raw)).toBe(true)
  })

  it('keeps a queue behind its concurrency, and answers each with its own segment', async () => {
    const raws = Array.from({ length: 40 }, (_, n) => ndjson(n + 1))
    const segments = await Promise.all(raws.map((raw) => pool.deflate(raw)))
    for (const [n, segment] of segments.entries())
      expect(inflate(segment).equals(raws[n] as Buffer)).toBe(true)
  })

  it('finishes what it has when it is closed, and takes nothing more', async () => {
    const closing = new Deflater({ level: 1, concurrency: 1, inPlaceBytes: 0 })
    const raws = [ndjson(10), ndjson(20), ndjson(30)]
    const pending = raws.map((raw) => closing.deflate(raw))
    closing.close()
    const segments = await Promise.all(pending)
    expect(segments.map((segment) => inflate(segment).length)).toEqual(
      raws.map((raw) => raw.length),
    )
    await expect(closing.deflate(ndjson(1))).rejects.toThrow('closed')
  })

  it('refuses empty input', async () => {
    await expect(deflater.deflate(Buffer.alloc(0))).rejects.toThrow(RangeError)
  })
})
