/**
 * Which headers a configuration may add to a request, and what they may hold. The one place: what
 * is refused when the configuration is read never goes out either (I4). Pure.
 */

/** Name and value of a header. */
export type HeaderPair = readonly [name: string, value: string]

/** Given by the ingest contract (its table of headers). */
const OF_CONTRACT = /^(sluice-.*|content-.*|idempotency-key)$/i

/** Given by HTTP itself, or by the connection. */
const OF_CONNECTION =
  /^(host|connection|keep-alive|proxy-connection|transfer-encoding|te|trailer|upgrade|expect)$/i

/** A token of RFC 9110, section 5.6.2. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/

/** Visible characters, space, tab, and bytes from 0x80 (RFC 9110, section 5.5). */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

/** Why a header may not be configured: it is no name, or somebody else sets it. null: it may. */
export function headerFault(name: string): 'no-name' | 'contract' | 'connection' | null {
  if (!NAME.test(name)) return 'no-name'
  if (OF_CONTRACT.test(name)) return 'contract'
  return OF_CONNECTION.test(name) ? 'connection' : null
}

/** Can this be sent as a header's value? Line breaks and control characters cannot. */
export function isHeaderValue(value: string): boolean {
  return VALUE.test(value)
}

/** What to do about a value that was typed into the configuration, or null. */
export function headerValueFix(value: string): string | null {
  return /^[\x20-\x7e\t]+$/.test(value) && value.trim() === value
    ? null
    : 'use printable ASCII, without line breaks and outer spaces'
}

/** Basic credentials (RFC 7617), as UTF-8. */
export function basicValue(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}
