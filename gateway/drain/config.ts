/**
 * Configuration of the delivery: how a sink's streams are cut into batches and how its answers are
 * obeyed. The same for every type of sink; what a type adds stands beside it.
 */
import { duration, integer, share, size } from '../config/fields.ts'
import { leaf, nullable } from '../config/schema.ts'

export interface DeliveryConfig {
  /**
   * How many streams of this sink may have a request in progress; never more than one per stream.
   */
  readonly maxInFlight: number
  readonly maxBatchRecords: number
  readonly maxBatchBytes: number
  readonly linger: number
  /**
   * The sink gives a request up that made no progress for so long; the drain makes batches that a
   * slow link takes in half of it (policy/pace-limit.ts).
   */
  readonly timeout: number
  readonly maxRetryAfter: number
  readonly recoveryJitter: number
  readonly maxBytesPerSecond: number | null
  readonly maxRefusedShare: number
}

/** Keys that each sink has, whatever its type. */
export const deliveryKeys = {
  maxInFlight: leaf(
    integer('How many streams may have a batch in flight; a stream never has more than one.', {
      min: 1,
      max: 64,
    }),
  ).prefault(1),
  maxBatchRecords: leaf(integer('Records of a batch.', { min: 1, max: 1_000_000 })).prefault(
    10_000,
  ),
  maxBatchBytes: leaf(
    size('Uncompressed bytes of a batch; one record alone may be larger.', {
      min: 1024,
      max: 256 * 1024 * 1024,
    }),
  ).prefault('4MiB'),
  linger: leaf(
    duration('How long a batch waits to be filled.', { min: 0, max: 3_600_000 }),
  ).prefault('200ms'),
  timeout: leaf(
    duration(
      'How long a batch in flight may make no progress: no byte of it taken, none of an answer.',
      {
        min: 100,
      },
    ),
  ).prefault('30s'),
  maxRetryAfter: leaf(
    duration('Longest wait asked for by the sink (Retry-After) that is obeyed.', { min: 0 }),
  ).prefault('1h'),
  recoveryJitter: leaf(
    duration('After an outage the first request waits a random time up to this.', { min: 0 }),
  ).prefault('0s'),
  maxBytesPerSecond: nullable(
    size('Most bytes sent each second, as sent (compressed). null: no limit.', { min: 1024 }),
  ).prefault(null),
  maxRefusedShare: leaf(
    share('A sink that refuses more than this of the last 1,000 records is held, not obeyed (I8).'),
  ).prefault(0.5),
}
