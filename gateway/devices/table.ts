/**
 * The devices by id, bounded: a new one takes the place of the one seen longest ago. Clients that
 * were never let in are kept apart and are few, so that nobody who only knocks pushes a device out.
 */
import { Device } from './device.ts'

/** Share of the table for clients that were never let in. */
const STRANGERS_SHARE = 0.1
/** Of the table, how many are found at once when room is needed. */
const ELDEST_SHARE = 0.01

export class DeviceTable {
  readonly #maxDevices: number
  readonly #onEvicted: (device: Device) => void
  readonly #devices = new Map<string, Device>()
  /** The one refused longest ago first. */
  readonly #strangers = new Map<string, Device>()
  /** Those seen longest ago, the last one first, when they were looked for. */
  #eldest: { readonly device: Device; readonly seen: number }[] = []
  #evicted = 0

  constructor(maxDevices: number, onEvicted: (device: Device) => void) {
    this.#maxDevices = maxDevices
    this.#onEvicted = onEvicted
  }

  get size(): number {
    return this.#devices.size
  }

  get evicted(): number {
    return this.#evicted
  }

  find(id: string): Device | undefined {
    return this.#devices.get(id)
  }

  /** Without those that were never let in. */
  devices(): Iterable<Device> {
    return this.#devices.values()
  }

  /** Those that were never let in as well. */
  *everyone(): Generator<Device> {
    yield* this.#devices.values()
    yield* this.#strangers.values()
  }

  /** The device with this id, which is made if there is none. */
  admit(id: string, atMs: number, seen: number): Device {
    const known = this.#devices.get(id)
    if (known !== undefined) return known
    const stranger = this.#strangers.get(id)
    this.#strangers.delete(id)
    return this.list(stranger ?? new Device(id, atMs, seen))
  }

  /** One that gave way is back, or one that was kept. */
  list(device: Device): Device {
    if (this.#devices.size >= this.#maxDevices) this.#evict()
    device.isListed = true
    this.#devices.set(device.id, device)
    return device
  }

  /** The device with this id, or a stranger. */
  meet(id: string, atMs: number): Device {
    const known = this.#devices.get(id)
    if (known !== undefined) return known
    const stranger = this.#strangers.get(id) ?? new Device(id, atMs, 0)
    this.#strangers.delete(id)
    const [oldest] = this.#strangers.keys()
    const most = Math.max(1, Math.floor(this.#maxDevices * STRANGERS_SHARE))
    if (oldest !== undefined && this.#strangers.size >= most) this.#strangers.delete(oldest)
    this.#strangers.set(id, stranger)
    return stranger
  }

  /** Known or stranger; undefined: neither. */
  remove(id: string): Device | undefined {
    const device = this.#devices.get(id) ?? this.#strangers.get(id)
    if (device === undefined) return undefined
    if (!this.#devices.delete(id)) this.#strangers.delete(id)
    device.isListed = false
    return device
  }

  #evict(): void {
    const eldest = this.#takeEldest() ?? this.#findEldest()
    if (eldest === undefined) return
    this.#devices.delete(eldest.id)
    eldest.isListed = false
    this.#evicted += 1
    this.#onEvicted(eldest)
  }

  /** Who was among the eldest and was not seen since still is: all others were seen later. */
  #takeEldest(): Device | undefined {
    for (let next = this.#eldest.pop(); next !== undefined; next = this.#eldest.pop()) {
      const { device, seen } = next
      if (device.seen === seen && this.#devices.get(device.id) === device) return device
    }
    return undefined
  }

  /** One look at all of them serves many that come. */
  #findEldest(): Device | undefined {
    const many = Math.max(1, Math.floor(this.#maxDevices * ELDEST_SHARE))
    this.#eldest = [...this.#devices.values()]
      .sort((a, b) => a.seen - b.seen)
      .slice(0, many)
      .reverse()
      .map((device) => ({ device, seen: device.seen }))
    return this.#takeEldest()
  }
}
