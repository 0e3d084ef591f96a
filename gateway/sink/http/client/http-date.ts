/**
 * HTTP dates and `Retry-After`, read leniently: what sinks send is not always what RFC 9110 asks
 * for, and a wait that is misread either hammers a struggling sink or stalls a healthy one. Pure;
 * no clock of our own takes part, because an edge box's clock may be wrong by years.
 */

const MONTHS = [
  'jan',
  'feb',
  'mar',
  'apr',
  'may',
  'jun',
  'jul',
  'aug',
  'sep',
  'oct',
  'nov',
  'dec',
] as const

/** `06 Nov 1994 08:49:37 GMT`, `06-Nov-94 08:49:37 GMT`; the weekday before it is not looked at. */
const DAY_FIRST =
  /(\d{1,2})[ -]([a-z]{3})[a-z]*[ -](\d{4}|\d{2})[ t]+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)? *(gmt|utc?|z|[+-]\d{2}:?\d{2})?$/
/** asctime: `Nov  6 08:49:37 1994`. */
const MONTH_FIRST = /([a-z]{3})[a-z]* +(\d{1,2}),? +(\d{1,2}):(\d{2})(?::(\d{2}))? +(\d{4})$/
const ISO =
  /^(\d{4})-(\d{2})-(\d{2})[t ](\d{2}):(\d{2})(?::(\d{2}))?(?:\.\d+)? ?(z|[+-]\d{2}:?\d{2})?$/

/**
 * An HTTP date (RFC 9110, section 5.6.7: IMF-fixdate, RFC 850, asctime) as ms since the epoch; also
 * ISO 8601, one-digit days, missing weekday, zone or seconds. Without a zone it is UTC. null: not a
 * date.
 */
export function parseHttpDate(text: string): number | null {
  const lower = text.slice(0, 100).trim().toLowerCase()
  const day = DAY_FIRST.exec(lower)
  if (day !== null) {
    return utc(
      yearOf(day[3]),
      MONTHS.indexOf(day[2] as never),
      day[1],
      day[4],
      day[5],
      day[6],
      day[7],
    )
  }
  const month = MONTH_FIRST.exec(lower)
  if (month !== null) {
    return utc(
      yearOf(month[6]),
      MONTHS.indexOf(month[1] as never),
      month[2],
      month[3],
      month[4],
      month[5],
    )
  }
  const iso = ISO.exec(lower)
  if (iso !== null)
    return utc(yearOf(iso[1]), Number(iso[2]) - 1, iso[3], iso[4], iso[5], iso[6], iso[7])
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

function utc(
  year: number,
  month: number,
  day: string | undefined,
  hour: string | undefined,
  minute: string | undefined,
  second: string | undefined,
  zone?: string,
): number | null {
  const [d, h, m, s] = [Number(day), Number(hour), Number(minute), Number(second ?? 0)]
  // 60 is a leap second; Date.UTC carries it over.
  if (month < 0 || month > 11 || d < 1 || d > 31 || h > 23 || m > 59 || s > 60) return null
  return Date.UTC(year, month, d, h, m, s) - zoneMinutes(zone) * 60_000
}

function zoneMinutes(zone: string | undefined): number {
  const offset = /^([+-])(\d{2}):?(\d{2})$/.exec(zone ?? '')
  if (offset === null) return 0
  const minutes = Number(offset[2]) * 60 + Number(offset[3])
  return offset[1] === '-' ? -minutes : minutes
}
