/** A page of the table for an operator: searched, sorted, cut. Pure. */
import type { DevicePage, DeviceQuery, DeviceRow, DeviceSort } from '../ports/devices.ts'
import type { Device } from './device.ts'

/** What a device is sorted by; by `id` where that is the same. */
interface Entry {
  readonly device: Device
  readonly rank: number
}

/** `nowMs`: monotonic. @throws TypeError for an `after` that is no `next` */
export function listDevices(
  devices: Iterable<Device>,
  { search, sort, silent, limit, after }: DeviceQuery,
  nowMs: number,
): DevicePage {
  const wanted = search.toLowerCase()
  const found: Entry[] = []
  for (const device of devices) {
    if (silent && !device.isSilent) continue
    if (wanted !== '' && !device.id.toLowerCase().includes(wanted)) continue
    found.push({ device, rank: rankOf(device, sort, nowMs) })
  }
  const from = after === null ? null : readCursor(after)
  const rest = from === null ? found : found.filter((entry) => isBehind(entry, from))
  rest.sort(inOrder)
  const page = rest.slice(0, limit)
  const last = page.at(-1)
  return {
    devices: page.map(({ device }) => rowOf(device, nowMs)),
    total: found.length,
    next: last === undefined || rest.length <= limit ? null : `${last.rank}:${last.device.id}`,
  }
}

/** The highest comes first. */
function rankOf(device: Device, sort: DeviceSort, nowMs: number): number {
  if (sort === 'name') return 0
  return sort === 'rate' ? device.messagesPerMinute(nowMs) : device.lastSeenAtMs
}

interface Cursor {
  readonly rank: number
  readonly id: string
}

function readCursor(text: string): Cursor {
  const colon = text.indexOf(':')
  const rank = Number(text.slice(0, colon))
  if (colon < 1 || !Number.isFinite(rank))
    throw new TypeError('after is the "next" of the page before')
  return { rank, id: text.slice(colon + 1) }
}

function isBehind({ rank, device }: Entry, from: Cursor): boolean {
  return rank < from.rank || (rank === from.rank && device.id > from.id)
}

function inOrder(a: Entry, b: Entry): number {
  if (a.rank !== b.rank) return b.rank - a.rank
  return a.device.id < b.device.id ? -1 : 1
}

function rowOf(device: Device, nowMs: number): DeviceRow {
  return {
    id: device.id,
    connected: device.connections > 0,
    firstSeenAtMs: device.firstSeenAtMs,
    lastSeenAtMs: device.lastSeenAtMs,
    messagesPerMinute: Math.round(device.messagesPerMinute(nowMs) * 10) / 10,
    messages: device.messages,
    lastTopic: device.lastTopic,
    lastRefusal: device.lastRefusal,
    silentSinceMs: device.silentSinceMs,
  }
}
