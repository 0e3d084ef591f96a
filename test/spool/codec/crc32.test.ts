import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32, crc32Combine } from '../../../gateway/spool/codec/crc32.ts'

describe('crc32', () => {
  it('gives the check value of the CRC catalogue for "123456789"', () => {
    expect(crc32(Buffer.from('123456789'))).toBe(0xcbf43926)
  })

  it('goes on from the CRC of what came before', () => {
    expect(crc32(Buffer.from('56789'), crc32(Buffer.from('1234')))).toBe(0xcbf43926)
  })
})

describe('crc32Combine', () => {
  it('gives the CRC of A and B behind each other, for any A and B', () => {
    const bytes = fc.uint8Array({ maxLength: 5000 })
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        expect(crc32Combine(crc32(a), crc32(b), b.length)).toBe(crc32(Buffer.concat([a, b])))
      }),
    )
  })

  it('is right for a part longer than 2^32 bits', () => {
    // 513 MiB of zeros, as 513 pieces, folded one by one and doubled up.
    const piece = Buffer.alloc(1024 * 1024)
    const pieceCrc = crc32(piece)
    let onePass = crc32(Buffer.from('x'))
    let tail = 0
    for (let n = 0; n < 513; n += 1) {
      onePass = crc32(piece, onePass)
      tail = crc32Combine(tail, pieceCrc, piece.length)
    }
    expect(crc32Combine(crc32(Buffer.from('x')), tail, 513 * piece.length)).toBe(onePass)
  })

  it('is associative for lengths far above what memory holds', () => {
    const [a, b, c] = [1, 2, 3].map(() => crc32(randomBytes(8))) as [number, number, number]
    const long = 2 ** 45 + 12_345
    const left = crc32Combine(crc32Combine(a, b, long), c, 99)
    const right = crc32Combine(a, crc32Combine(b, c, 99), long + 99)
    expect(left).toBe(right)
  })
})
