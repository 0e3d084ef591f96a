/** What brings batches to a receiver, one after the other. */
import type { BareBatch } from './batches.ts'

export interface Sender {
  /** Resolves when the next one may come. */
  send(batch: BareBatch): Promise<void>
  /** Resolves when all of them are acknowledged. */
  finish(): Promise<void>
  close(): Promise<void>
}

/** Of one that waits for the answer to each batch. */
export const nothingLeft = { finish: async (): Promise<void> => undefined }
