/**
 * HTTP dates and `Retry-After`, read leniently: what sinks send is not always what RFC 9110 asks
 * for, and a wait that is misread either hammers a struggling sink or stalls a healthy one. Pure;
 * no clock of our own takes part, because an edge box's clock may be wrong by years.
 */

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']

/**
 * In the order in which they are tried. `06 Nov 1994 08:49:37 GMT` and `06-Nov-94 08:49:37 GMT`, a
 * weekday before them is not looked at; asctime, `Nov  6 08:49:37 1994`; ISO 8601.
 */
const FORMS = [
  /(?<day>\d{1,2})[ -](?<month>[a-z]{3})[a-z]*[ -](?<year>\d{4}|\d{2})[ t]+(?<hour>\d{1,2}):(?<minute>\d{2})(?::(?<second>\d{2}))?(?:\.\d+)? *(?<zone>gmt|utc?|z|[+-]\d{2}:?\d{2})?$/,
  /(?<month>[a-z]{3})[a-z]* +(?<day>\d{1,2}),? +(?<hour>\d{1,2}):(?<minute>\d{2})(?::(?<second>\d{2}))? +(?<year>\d{4})$/,
  /^(?<year>\d{4})-(?<month>\d{2})-(?<day>\d{2})[t ](?<hour>\d{2}):(?<minute>\d{2})(?::(?<second>\d{2}))?(?:\.\d+)? ?(?<zone>z|[+-]\d{2}:?\d{2})?$/,
] as const

/**
 * An HTTP date (RFC 9110, section 5.6.7: IMF-fixdate, RFC 850, asctime) as ms since the epoch; also
 * ISO 8601, one-digit days, missing weekday, zone or seconds. Without a zone it is UTC. null: not a
 * date.
 */
export function parseHttpDate(text: string): number | null {
  const lower = text.slice(0, 100).trim().toLowerCase()
  for (const form of FORMS) {
    const fields = form.exec(lower)?.groups
    if (fields !== undefined) return utc(fields)
  }
  return null
}

/**
 * How long `Retry-After` (RFC 9110, section 10.2.3) asks to wait, ms, at most `maxMs`. The date
 * form counts from the answer's own `Date`, never from our clock; without one it is ignored. null:
 * no header, or nothing to make of it.
 */
export function parseRetryAfter(
  value: string,
  answerDateMs: number | null,
  maxMs: number,
): number | null {
  const text = value.trim()
  if (/^\d+(?:\.\d+)?$/.test(text)) return Math.min(Math.ceil(Number(text) * 1000), maxMs)
  const until = parseHttpDate(text)
  if (until === null || answerDateMs === null) return null
  return Math.min(Math.max(0, until - answerDateMs), maxMs)
}

/** Two digits: RFC 850. Counted as this century up to 69, as POSIX does, which needs no clock. */
function yearOf(digits: string | undefined): number {
  const year = Number(digits)
  if (digits?.length !== 2) return year
  return year < 70 ? 2000 + year : 1900 + year
}

/** By name (JavaScript's index counts from 0) or by number. */
function monthIndex(text: string): number {
  return /^\d/.test(text) ? Number(text) - 1 : MONTHS.indexOf(text)
}

/** The fields of a date as one of {@link FORMS} names them. */
function utc({
  year,
  month = '',
  day,
  hour,
  minute,
  second = '0',
  zone,
}: Readonly<Record<string, string | undefined>>): number | null {
  const monthAt = monthIndex(month)
  const [d, h, m, s] = [Number(day), Number(hour), Number(minute), Number(second)]
  // 60 is a leap second; Date.UTC carries it over.
  if (monthAt < 0 || monthAt > 11 || d < 1 || d > 31 || h > 23 || m > 59 || s > 60) return null
  return Date.UTC(yearOf(year), monthAt, d, h, m, s) - zoneMinutes(zone) * 60_000
}

function zoneMinutes(zone: string | undefined): number {
  const offset = /^([+-])(\d{2}):?(\d{2})$/.exec(zone ?? '')
  if (offset === null) return 0
  const minutes = Number(offset[2]) * 60 + Number(offset[3])
  return offset[1] === '-' ? -minutes : minutes
}
