/** Configuration of the sinks: where batches go, and how. */
import { z } from 'zod'
import type { Secret } from '../config.ts'
import {
  choice,
  duration,
  flag,
  integer,
  leaf,
  nullable,
  path,
  secret,
  section,
  sections,
  share,
  size,
  text,
} from '../fields.ts'

const tls = section('TLS towards the sink; files are re-read when they change.', {
  ca: nullable(
    path(
      "Authorities to trust, PEM, instead of Node's and the system's (SSL_CERT_FILE, SSL_CERT_DIR, its bundle).",
    ),
  ).prefault(null),
  cert: nullable(path('Client certificate, PEM.')).prefault(null),
  key: nullable(path('Its private key, PEM.')).prefault(null),
})

const url = leaf(
  text(
    'Where batches are posted. Shown without query, and without what in its path looks like a token.',
    {
      kind: 'url',
      wanted: 'an http or https URL',
      check: urlFix,
    },
  ),
)

/** A batch is named by its sink's word; 207 always needs a body, and other statuses are no acks. */
const ackStatus = z
  .array(
    leaf<number>({
      kind: 'integer',
      wanted: 'a status from 200 to 299, without 207',
      text: 'An HTTP status.',
      parse: (input) => {
        if (typeof input !== 'number' || !Number.isInteger(input))
          return { fix: 'write a number such as 200' }
        if (input === 207)
          return { fix: 'remove it: 207 acks through its body alone, whatever is listed here' }
        return input >= 200 && input <= 299
          ? { value: input }
          : { fix: 'only a 2xx status can be an ack' }
      },
    }),
  )
  .min(1)
  .max(100)
sections.add(ackStatus, { text: 'Answers that mean: every record is yours now.' })

const headers = z.record(
  z.string(),
  leaf<Secret>(
    secret('Value of the header.', (value) =>
      /^[\x20-\x7e\t]+$/.test(value) && value.trim() === value
        ? null
        : 'use printable ASCII, without line breaks and outer spaces',
    ),
  ),
)
sections.add(headers, { text: 'Headers added to each request; values are secrets.' })

const answers = z.record(
  z.string(),
  leaf(
    choice('What this status means at this sink.', [
      'acked',
      'retry',
      'refused',
      'too-large',
      'hold',
    ]),
  ),
)
sections.add(answers, {
  text: 'Statuses that mean something else at this sink than in the contract.',
})

export const sinkSection = section('One sink, by name.', {
  type: leaf(choice('Kind of sink.', ['http'])).prefault('http'),
  url: url.prefault('http://127.0.0.1:9000/ingest'),
  headers: headers.prefault({}),
  bearerToken: nullable(
    secret('Sent as Authorization: Bearer.', (value) =>
      /^[\x21-\x7e]+$/.test(value) ? null : 'use visible ASCII characters without spaces',
    ),
  ).prefault(null),
  tls: tls.nullable().prefault(null),
  format: leaf(choice('Form of the body.', ['ndjson'])).prefault('ndjson'),
  compression: leaf(choice('Of the body.', ['gzip', 'none'])).prefault('gzip'),
  ack: leaf(
    choice('status: an answer of ackStatus acks; body: only one that says so in JSON does.', [
      'status',
      'body',
    ]),
  ).prefault('status'),
  ackStatus: ackStatus.prefault([200, 201, 204]),
  answers: answers.prefault({}),
  maxInFlight: leaf(
    integer('Streams that may have a request in progress; never more than one a stream.', {
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
  connectTimeout: leaf(
    duration(
      'For a connection: name, address, TLS. Several addresses are raced, a dead one holds none up.',
      {
        min: 100,
      },
    ),
  ).prefault('20s'),
  timeout: leaf(
    duration('Longest time without progress: no byte of the request taken, none of the answer.', {
      min: 100,
    }),
  ).prefault('30s'),
  minBytesPerSecond: leaf(
    size(
      'A request slower than this, timeout twice added, is given up, however steadily it moves.',
      {
        min: 1,
      },
    ),
  ).prefault(256),
  maxRetryAfter: leaf(duration('Longest Retry-After that is obeyed.', { min: 0 })).prefault('1h'),
  recoveryJitter: leaf(
    duration('After an outage the first request waits a random time up to this.', { min: 0 }),
  ).prefault('0s'),
  maxBytesPerSecond: nullable(
    size('Cap on compressed bytes sent each second. null: none.', { min: 1024 }),
  ).prefault(null),
  maxRefusedShare: leaf(
    share('A sink that refuses more than this of the last 1,000 records is held, not obeyed (I8).'),
  ).prefault(0.5),
  allowInsecure: leaf(flag('Secrets may go over plain http to another host.')).prefault(false),
})

export const sinksSlice = z.record(z.string(), sinkSection)
sections.add(sinksSlice, { text: 'Where streams are delivered, by name.' })

function urlFix(input: string): string | null {
  const parsed = URL.canParse(input) ? new URL(input) : null
  if (parsed === null || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:'))
    return 'write a URL that begins with http:// or https://, for example https://cloud.example/ingest'
  // Between the slashes and the path stands the host; the parser would take the first word of the
  // path for it.
  if (!/^https?:\/\/[^/?#\\]/i.test(input))
    return 'write the host behind the two slashes, for example https://cloud.example/ingest'
  if (parsed.username !== '' || parsed.password !== '')
    return 'take user and password out of the URL; use bearerToken, or headers with Authorization'
  return parsed.hash === '' ? null : 'remove the part from #: it is never sent'
}
