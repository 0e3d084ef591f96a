/**
 * Shared access signatures of Azure: a token for a resource, signed with the key of a policy, valid
 * until a moment. Pure.
 */
import { createHmac } from 'node:crypto'

export type SasReceiver = 'event-hubs' | 'service-bus' | 'iot-hub'

interface SasGrant {
  readonly receiver: SasReceiver
  /** As `sr` names it, not encoded: `https://ns.servicebus.windows.net/hub`. */
  readonly resource: string
  readonly keyName: string | null
  readonly key: string
  /** ms since the epoch; seconds count. */
  readonly untilMs: number
}

/** Value of the `Authorization` header. */
export function sasToken({ receiver, resource, keyName, key, untilMs }: SasGrant): string {
  const sr = encodeURIComponent(resource)
  const se = Math.floor(untilMs / 1000)
  // The keys of IoT Hub are Base64 of the key; those of the others are the key, as they look.
  const bytes = receiver === 'iot-hub' ? Buffer.from(key, 'base64') : Buffer.from(key)
  const sig = createHmac('sha256', bytes).update(`${sr}\n${se}`).digest('base64')
  const skn = keyName === null ? '' : `&skn=${encodeURIComponent(keyName)}`
  return `SharedAccessSignature sr=${sr}&sig=${encodeURIComponent(sig)}&se=${se}${skn}`
}

/** What a token for requests to `url` is for. */
export function sasResource(url: URL, receiver: SasReceiver): string {
  const path = url.pathname.replace(/\/+$/, '')
  if (receiver === 'iot-hub') {
    const device = /^\/devices\/[^/]+/.exec(path)?.[0] ?? ''
    return `${url.hostname}${device}`
  }
  return `https://${url.hostname}${path.replace(/\/messages$/, '')}`.toLowerCase()
}

/** A key that cannot be one, in words; null: it may be. */
export function sasKeyFault(key: string, receiver: SasReceiver): string | null {
  if (receiver !== 'iot-hub') return null
  return /^[A-Za-z0-9+/]{4,}={0,2}$/.test(key) ? null : 'is not the Base64 of a key'
}
