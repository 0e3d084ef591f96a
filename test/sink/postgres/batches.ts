/** Batches of given payloads, for what a mapping and a database make of them. */
import type { Batch } from '../../../gateway/ports/sink.ts'
import { recordOfLine } from '../../../gateway/spool/codec/record.ts'
import { batchOf, recordLine } from '../http/batches.ts'

/** @param payloads JSON texts, and bytes that are no JSON */
export function batchOfPayloads(
  payloads: readonly (string | Uint8Array)[],
  { firstSeq = 1, ...changes }: Partial<Batch> = {},
): Batch {
  const lines = payloads.map((payload, index) => {
    const seq = firstSeq + index
    if (typeof payload === 'string') return recordLine(seq, payload)
    const base64 = Buffer.from(payload).toString('base64')
    return recordLine(seq, '0').replace('"payload":0', `"payloadBase64":"${base64}"`)
  })
  const raw = Buffer.from(lines.join(''))
  return {
    ...batchOf(firstSeq, firstSeq + payloads.length - 1),
    rawBytes: raw.length,
    stitched: async () => ({ chunks: [raw], byteLength: raw.length }),
    records: async function* () {
      for (const line of lines) yield recordOfLine(Buffer.from(line))
    },
    ...changes,
  }
}
