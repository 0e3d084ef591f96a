/** Configuration of the spool stage. */
import { duration, integer, leaf, section, size } from '../fields.ts'

export const spoolSlice = section('Commits and disk.', {
  commitInterval: leaf(
    duration(
      'Pace of commits under a steady trickle, and the most that it adds to an ack; spares the flash. A burst, 128 KiB ' +
        'for each stream, and devices that wait for their acks do not wait for it.',
      {
        min: 0,
        max: 60_000,
      },
    ),
  ).prefault('50ms'),
  commitBurst: leaf(
    integer(
      'So many small commits may start at once; the budget refills by one per commitInterval.',
      {
        min: 0,
        max: 1_000_000,
      },
    ),
  ).prefault(1_000),
  minFreeBytes: leaf(
    size('Below so much free disk ingest closes, before the disk is full; delivery goes on (I6).', {
      min: 1024 * 1024,
    }),
  ).prefault('256MiB'),
})
