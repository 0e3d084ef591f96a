/** Readings out of the NDJSON of the ingest contract, for receivers that keep it as it is. */
import type { StoredReading } from '../receiver.ts'

export function readingsOf(ndjson: string): StoredReading[] {
  return ndjson
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const { id, device, payload } = JSON.parse(line) as {
        readonly id: string
        readonly device: string
        readonly payload: { readonly n: number }
      }
      return { id, device, n: payload.n }
    })
}
