/**
 * The format of the spool folder, as a number that only rises. It stands in the file `place` and in
 * every state record; what has none was written by version 0.1.0.
 *
 *   1: version 0.1.0   2: version 0.2.0 (the file `place`; records of `payload: text`)
 *   3: version 0.3.0 (small keyed values lie before the blocks; a pin holds a fingerprint and a number
 *      of gaps, no header text)
 *
 * A newer format than this one is refused, because it would be taken for damage. A downgrade from 2
 * to 0.1.0 works: that version passes over what it does not know, and notices no restored folder. A
 * downgrade from 3 is refused by 0.2.0, which would miss the values and send a pinned batch without
 * its gaps; 0.1.0 knows of no formats.
 */
export const SPOOL_FORMAT = 3
/** What says no number. */
export const FIRST_FORMAT = 1

export class NewerFormatError extends Error {
  readonly code = 'SLUICE_SPOOL_NEWER'
  readonly retryable = false

  constructor(dataDir: string, format: number) {
    super(
      `the spool in ${dataDir} has format ${format}, this version of Sluice knows formats up to ${SPOOL_FORMAT}: start the ` +
        'version that wrote it, or a newer one. To go back all the same, let that version deliver what waits, and give this ' +
        'one a gateway.dataDir of its own',
    )
    this.name = 'NewerFormatError'
  }
}

/** @throws NewerFormatError */
export function checkFormat(dataDir: string, format: number): void {
  if (format > SPOOL_FORMAT) throw new NewerFormatError(dataDir, format)
}
