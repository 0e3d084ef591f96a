/** Holds a ledger against a cloud's folder on disk: the thin, reading side of verify.ts. */
import { readStore } from '../cloud/store/store.ts'
import type { LedgerEntry } from './ledger.ts'
import { parseStoredLine } from './stored-line.ts'
import { type Verdict, Verifier } from './verify.ts'

/** May run beside a cloud that is still storing: then what comes meanwhile may be missing. */
export async function verifyStore(ledger: Iterable<LedgerEntry>, folder: string): Promise<Verdict> {
  const verifier = new Verifier(ledger)
  for await (const { line, ...queue } of readStore(folder)) {
    let reading: ReturnType<typeof parseStoredLine>
    try {
      reading = parseStoredLine(line)
    } catch (error) {
      verifier.takeUnreadable(queue, error instanceof Error ? error.message : String(error))
      continue
    }
    verifier.take(queue, reading)
  }
  return verifier.result()
}
