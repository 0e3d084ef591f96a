import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { BlockDamagedError, Deflater } from '../../../gateway/spool/codec/block.ts'
import { crc32 } from '../../../gateway/spool/codec/crc32.ts'
import {
  type Body,
  joinIdentity,
  type Part,
  SMALL_PART_RAW_BYTES,
  stitchGzip,
} from '../../../gateway/spool/codec/stitch.ts'
import { testWithTool } from '../../support/tool-tests.ts'

const deflater = new Deflater({ level: 1, concurrency: 2 })
afterAll(() => deflater.close())

async function deflated(raw: Uint8Array): Promise<Part & { kind: 'deflated' }> {
  return {
    kind: 'deflated',
    segment: await deflater.deflate(raw),
    rawBytes: raw.length,
    crc32: crc32(raw),
  }
}

/** Some bytes and how they are stored. */
interface Piece {
  readonly raw: Uint8Array
  readonly stored: 'deflated' | 'raw'
}

async function partsOf(pieces: readonly Piece[]): Promise<Part[]> {
  return Promise.all(
    pieces.map(async (p) => (p.stored === 'raw' ? { kind: 'raw', bytes: p.raw } : deflated(p.raw))),
  )
}

/**
 * Short and long ones, some that deflate well and some that do not, on both sides of the threshold.
 */
const piece: fc.Arbitrary<Piece> = fc
  .tuple(
    fc.oneof(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: SMALL_PART_RAW_BYTES - 50, max: 70_000 }),
    ),
    fc.boolean(),
    fc.constantFrom('deflated', 'raw'),
    fc.nat(),
  )
  .map(([length, flat, stored, seed]) => ({
    raw: flat ? flatBytes(length) : mixedBytes(length, seed),
    stored,
  }))

function flatBytes(length: number): Buffer {
  return Buffer.alloc(length, '{"celsius":21.5}\n')
}

function mixedBytes(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  let state = seed | 1
  for (let n = 0; n < length; n += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0
    bytes[n] = state >>> 16
  }
  return bytes
}

function bytesOf(body: Body): Buffer {
  return Buffer.concat(body.chunks)
}

function expectBody(body: Body, raw: Buffer): void {
  expect(body.byteLength).toBe(bytesOf(body).length)
  expect(body.rawBytes).toBe(raw.length)
  expect(body.crc32).toBe(crc32(raw))
}

describe('stitchGzip', () => {
  it('gives one gzip member that zlib reads, for any mix of parts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const raw = Buffer.concat(pieces.map((p) => p.raw))
        const body = await stitchGzip(await partsOf(pieces))
        expectBody(body, raw)
        expect(gunzipSync(bytesOf(body)).equals(raw)).toBe(true)
      }),
      { numRuns: 80 },
    )
  })

  it('I4: gives the same bytes for the same parts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 6 }), async (pieces) => {
        const first = bytesOf(await stitchGzip(await partsOf(pieces)))
        const second = bytesOf(await stitchGzip(await partsOf(pieces)))
        expect(second.equals(first)).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  it('has a fixed header: no time, no name, unknown system', async () => {
    const { chunks } = await stitchGzip([])
    expect(Buffer.concat(chunks).toString('hex')).toBe(`1f8b08000000000000ff0300${'00'.repeat(8)}`)
    expect(gunzipSync(Buffer.concat(chunks))).toHaveLength(0)
  })

  it('passes large segments on as they lie on disk, without a copy', async () => {
    const parts = await partsOf([
      { raw: flatBytes(SMALL_PART_RAW_BYTES), stored: 'deflated' },
      { raw: mixedBytes(50_000, 1), stored: 'deflated' },
    ])
    const { chunks } = await stitchGzip(parts)
    expect(chunks.slice(1, -1)).toEqual(
      parts.map((part) => (part.kind === 'deflated' ? part.segment : null)),
    )
    expect(chunks[1]).toBe((parts[0] as Part & { kind: 'deflated' }).segment)
  })

  it('recompresses many small parts together, to less than half of what they were', async () => {
    const lines = Array.from({ length: 500 }, (_, n) => {
      const at = new Date(1_800_000_000_000 + n * 977).toISOString()
      return Buffer.from(
        `{"id":"edge:s:t:${n}","seq":${n},"receivedAt":"${at}","payload":{"celsius":${n % 31}}}\n`,
      )
    })
    const parts = await partsOf(
      lines.map((raw, n) => ({ raw, stored: n % 3 === 0 ? 'raw' : 'deflated' })),
    )
    const body = await stitchGzip(parts)
    expect(body.chunks).toHaveLength(3)
    expect(gunzipSync(bytesOf(body)).equals(Buffer.concat(lines))).toBe(true)
    const stored = parts.reduce(
      (sum, part) => sum + (part.kind === 'raw' ? part.bytes : part.segment).length,
      0,
    )
    expect(body.byteLength).toBeLessThan(stored / 2)
  })

  it('takes raw parts that are longer than a stored block of deflate', async () => {
    const pieces: Piece[] = [
      { raw: Buffer.from('x'), stored: 'deflated' },
      { raw: randomBytes(200_000), stored: 'raw' },
      { raw: Buffer.from('y'), stored: 'deflated' },
    ]
    const body = await stitchGzip(await partsOf(pieces))
    expect(gunzipSync(bytesOf(body)).equals(Buffer.concat(pieces.map((p) => p.raw)))).toBe(true)
  })

  it('refuses a small part that is not what it says, in gzip and identity', async () => {
    const good = await deflated(Buffer.from('{"seq":1}\n'))
    const neighbour: Part = { kind: 'raw', bytes: Buffer.from('{"seq":2}\n') }
    for (const lie of [
      { crc32: 1 },
      { rawBytes: 9 },
      { rawBytes: 11 },
      { segment: Buffer.from('nonsense') },
    ]) {
      await expect(stitchGzip([{ ...good, ...lie }, neighbour])).rejects.toThrow(BlockDamagedError)
      await expect(joinIdentity([{ ...good, ...lie }])).rejects.toThrow(BlockDamagedError)
    }
  })

  testWithTool('gzip', 'gives a member that gzip -t accepts and gzip -d reads', async () => {
    const pieces = fc.sample(piece, { numRuns: 12, seed: 4711 })
    const member = bytesOf(await stitchGzip(await partsOf(pieces)))
    execFileSync('gzip', ['-t'], { input: member })
    const raw = execFileSync('gzip', ['-dc'], { input: member, maxBuffer: 64 * 1024 * 1024 })
    expect(raw.equals(Buffer.concat(pieces.map((p) => p.raw)))).toBe(true)
  })

  testWithTool(
    'python3',
    "gives a member that python's gzip module reads, nothing behind it",
    async () => {
      const pieces = fc.sample(piece, { numRuns: 12, seed: 815 })
      const member = bytesOf(await stitchGzip(await partsOf(pieces)))
      const program = [
        'import sys, zlib',
        'd = zlib.decompressobj(wbits=31)',
        'raw = d.decompress(sys.stdin.buffer.read())',
        'assert d.eof and d.unused_data == b""',
        'sys.stdout.buffer.write(raw)',
      ].join('\n')
      const raw = execFileSync('python3', ['-c', program], {
        input: member,
        maxBuffer: 64 * 1024 * 1024,
      })
      expect(raw.equals(Buffer.concat(pieces.map((p) => p.raw)))).toBe(true)
    },
  )
})

describe('joinIdentity', () => {
  it('gives the records of all parts in order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 8 }), async (pieces) => {
        const raw = Buffer.concat(pieces.map((p) => p.raw))
        const body = await joinIdentity(await partsOf(pieces))
        expectBody(body, raw)
        expect(bytesOf(body).equals(raw)).toBe(true)
      }),
      { numRuns: 60 },
    )
  })
})
