/**
 * Which records a `refuse` fault means. Always the same ones for the same seed and rule, so a
 * record that is sent again is refused again: that is what a sink with an opinion on data does.
 * Pure.
 */
import { z } from 'zod'

/** The forms of a `match`, for who wrote another. */
export const MATCH_FORMS =
  '{"share": 0.01}, {"contains": "text"}, {"seqs": [3, 4]}, or {"member": "celsius"} with "above", "below" or "equals"'

export const recordMatch = z.union(
  [
    /** This share of all records, picked by seq. */
    z.strictObject({ share: z.number().min(0).max(1) }),
    /** Lines that hold this text. */
    z.strictObject({ contains: z.string().min(1) }),
    /** Records with one of these seqs. */
    z.strictObject({ seqs: z.array(z.number().int().positive()).min(1) }),
    /**
     * Records whose payload is an object with this member, above or below a number or equal to a
     * value.
     */
    z.strictObject({
      member: z.string(),
      above: z.number().optional(),
      below: z.number().optional(),
      equals: z.union([z.string(), z.number(), z.boolean(), z.null()]).optional(),
    }),
  ],
  { error: `want one of ${MATCH_FORMS}` },
)

type RecordMatch = z.output<typeof recordMatch>

/** Does the rule mean this record? `line`: its NDJSON line without LF. */
export function matches(match: RecordMatch, line: Uint8Array, seq: number, seed: number): boolean {
  if ('share' in match) return hash(seed, seq) < match.share
  if ('seqs' in match) return match.seqs.includes(seq)
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength)
  if ('contains' in match) return bytes.includes(match.contains)
  const value = payloadMember(bytes, match.member)
  if (value === undefined) return false
  if ('equals' in match && match.equals !== undefined && value !== match.equals) return false
  if (match.above !== undefined && !(typeof value === 'number' && value > match.above)) return false
  return match.below === undefined || (typeof value === 'number' && value < match.below)
}

function payloadMember(line: Buffer, name: string): unknown {
  try {
    const { payload } = JSON.parse(line.toString()) as { readonly payload?: unknown }
    if (typeof payload !== 'object' || payload === null || !Object.hasOwn(payload, name))
      return undefined
    return (payload as Readonly<Record<string, unknown>>)[name]
  } catch {
    return undefined
  }
}

/** From 0 up to 1, the same for the same numbers (murmur3's finaliser over both). */
function hash(seed: number, seq: number): number {
  let mixed =
    Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(seq ^ (seq / 0x1_0000_0000), 0xcc9e2d51)
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return ((mixed ^ (mixed >>> 16)) >>> 0) / 0x1_0000_0000
}
