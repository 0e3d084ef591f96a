/**
 * How silence is written: the topic of its records, and the value that the spool keeps of a device
 * and a stream. Pure.
 */

/** Topics under it are the gateway's own: what a device publishes there is no record. */
const RESERVED = '$sluice/devices'

/** An id may hold what splits a topic into levels: it is one level, written as URLs write it. */
export function silenceTopic(device: string, state: 'silent' | 'back'): string {
  return `${RESERVED}/${device.replace(/[%/+#]/g, encodeURIComponent)}/${state}`
}

interface Membership {
  readonly heardAtMs: number
  readonly topic: string
  readonly silentSinceMs: number | null
}

/** Names of streams hold no slash. */
export function storedKey(stream: string, device: string): string {
  return `${stream}/${device}`
}

export function storedMembership({ heardAtMs, topic, silentSinceMs }: Membership): Uint8Array {
  return Buffer.from(JSON.stringify({ heardAtMs, topic, silentSinceMs }))
}

/** null: it was not written by `storedMembership`. */
export function readMembership(
  key: string,
  value: Uint8Array,
): (Membership & { readonly stream: string; readonly device: string }) | null {
  const slash = key.indexOf('/')
  const parsed = parse(value)
  if (slash < 1 || parsed === null) return null
  return { stream: key.slice(0, slash), device: key.slice(slash + 1), ...parsed }
}

function parse(value: Uint8Array): Membership | null {
  try {
    const { heardAtMs, topic, silentSinceMs } = JSON.parse(Buffer.from(value).toString()) as Record<
      string,
      unknown
    >
    if (typeof heardAtMs !== 'number' || typeof topic !== 'string') return null
    if (silentSinceMs !== null && typeof silentSinceMs !== 'number') return null
    return { heardAtMs, topic, silentSinceMs }
  } catch {
    return null
  }
}
