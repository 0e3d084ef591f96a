/**
 * What this process may have of its machine: descriptors and memory. The configuration is written
 * for the box that its author had in mind; the kernel ends a process that holds more than the box
 * has (I6). So where a limit of the configuration is above what the host gives, the host's is in
 * effect, and says so.
 *
 * Descriptors: devices get what is left when the store, the sinks, the admin server and the log
 * have theirs. Memory: the smallest of what the machine has and what any control group around this
 * process allows.
 */
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import type { MqttLimits } from './broker/config.ts'
import type { HostWarning } from './cli/context.ts'
import type { Config } from './configuration.ts'

const KIB = 1024
const MIB = 1024 * KIB

/**
 * Not for devices: LevelDB's tables (74) and its log, the lock, 64 connections of the admin server,
 * listeners, secrets and certificates that are read, what Node itself has open, and as much again
 * for repairs at run time.
 */
export const RESERVED_DESCRIPTORS = 256

/**
 * A sink's request in progress may have a connection in use, one that is going down and one to
 * another address.
 */
const DESCRIPTORS_A_REQUEST = 3

/**
 * Program, heap and database without any data: measured 57 MB (RssAnon) after minutes of small
 * readings.
 */
export const BASE_MEMORY_BYTES = 64 * MIB

/** Below it the gateway starts, and may be ended by the kernel under load. */
export const MIN_MEMORY_BYTES = 128 * MIB

/**
 * Measured 30 KiB with a stored session, and a little for what all of them send at once when they
 * come back.
 */
const CONNECTION_BYTES = 40 * KIB

/** Raw bytes that wait for their commit, whatever the memory. */
const MAX_OPEN_BYTES = 64 * MIB

export interface HostLimits {
  /** null: not known. */
  readonly descriptors: number | null
  readonly memoryBytes: number
}

/** Every limit but the one that is a share of another. */
type CappedKey = Exclude<keyof MqttLimits, 'maxConnectionsPerAddress'>

/** A limit of the configuration that the host does not give. */
interface HostCap {
  readonly key: CappedKey
  readonly configured: number
  readonly effective: number
  readonly because: 'descriptors' | 'memory'
}

export interface Fitted {
  readonly config: Config
  readonly caps: readonly HostCap[]
  /** Raw bytes that may wait for their commit. */
  readonly maxOpenBytes: number
}

/** The configuration as this host can carry it. Pure. */
export function fitToHost(config: Config, host: HostLimits): Fitted {
  const share = (part: number): number =>
    Math.floor(Math.max(MIB, (host.memoryBytes - BASE_MEMORY_BYTES) / part))
  const total = Math.max(share(16), config.mqtt.maxPacketBytes)
  const bounds: Array<readonly [CappedKey, number, HostCap['because']]> = [
    ['maxConnections', forDevices(config, host.descriptors), 'descriptors'],
    ['maxConnections', Math.floor((share(1) * 0.75) / CONNECTION_BYTES), 'memory'],
    ['maxUnackedBytesTotal', total, 'memory'],
    ['maxUnackedBytes', Math.max(Math.floor(total / 4), config.mqtt.maxPacketBytes), 'memory'],
    ['maxHoldBackBytesTotal', Math.max(share(64), config.mqtt.maxHoldBackBytes), 'memory'],
    ['maxSubscriberBytesTotal', share(32), 'memory'],
    ['maxSubscriberBytes', share(32), 'memory'],
  ]
  const mqtt: Record<string, unknown> = { ...config.mqtt }
  const caps = new Map<CappedKey, HostCap>()
  for (const [key, most, because] of bounds) {
    if (most >= (mqtt[key] as number)) continue
    mqtt[key] = most
    caps.set(key, { key, configured: config.mqtt[key], effective: most, because })
  }
  return {
    config: { ...config, mqtt: mqtt as unknown as Config['mqtt'] },
    caps: [...caps.values()],
    maxOpenBytes: Math.min(MAX_OPEN_BYTES, share(16)),
  }
}

/** What commands say of it. The gateway itself may run under other limits. */
export function hostWarnings({ caps }: Fitted, { memoryBytes }: HostLimits): HostWarning[] {
  const warnings = caps.map(
    ({ key, configured, effective, because }): HostWarning => ({
      because,
      text: `mqtt.${key}: ${effective} will be in effect and not ${configured}: this host does not give the ${because} for more${because === 'descriptors' ? ' (ulimit -n, LimitNOFILE=)' : ''}`,
    }),
  )
  if (memoryBytes < MIN_MEMORY_BYTES)
    warnings.push({
      because: 'memory',
      text: `memory: ${Math.floor(memoryBytes / MIB)} MiB are less than ${MIN_MEMORY_BYTES / MIB} MiB: the kernel may end the gateway under load`,
    })
  return warnings
}

/**
 * At least half of what there is, and one: with a handful of descriptors some devices are better
 * than none.
 */
function forDevices(config: Config, descriptors: number | null): number {
  if (descriptors === null) return Number.POSITIVE_INFINITY
  const requests = Object.values(config.sinks).reduce(
    (sum, { maxInFlight }) => sum + maxInFlight,
    0,
  )
  const reserved =
    RESERVED_DESCRIPTORS + config.mqtt.listeners.length + DESCRIPTORS_A_REQUEST * requests
  return Math.max(1, Math.floor(descriptors / 2) - 64, descriptors - reserved)
}

/** @param pid of another process, whose limits may be read by its own user and root */
export function readHostLimits(pid: number | null = null): HostLimits {
  const own = pid === null ? 'self' : String(pid)
  const read = (path: string): string | null => {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return null
    }
  }
  return {
    // Node raised the soft limit to the hard one at its start.
    descriptors: openFiles(read(`/proc/${own}/limits`) ?? ''),
    memoryBytes: Math.min(totalmem(), cgroupMemory(read, own) ?? Number.POSITIVE_INFINITY),
  }
}

function openFiles(limits: string): number | null {
  const match = /^Max open files +(\d+)/m.exec(limits)
  return match === null ? null : Number(match[1])
}

/**
 * The smallest limit of the control groups that this process is in, in version 2 (`memory.max`) and
 * 1 (`memory.limit_in_bytes`), those around its own included; null: none is set. See cgroups(7),
 * proc(5).
 */
export function cgroupMemory(read: (path: string) => string | null, own = 'self'): number | null {
  const limits: number[] = []
  for (const { hierarchy, file } of [
    { hierarchy: '', file: 'memory.max' },
    { hierarchy: 'memory', file: 'memory.limit_in_bytes' },
  ]) {
    const mount = mountOf(read(`/proc/${own}/mountinfo`) ?? '', hierarchy)
    const path = groupOf(read(`/proc/${own}/cgroup`) ?? '', hierarchy)
    if (mount === null || path === null) continue
    // A container may see its own group as the root of the mount.
    const inner = path.startsWith(mount.root) ? path.slice(mount.root.length) : path
    for (let folder = join(mount.folder, inner); ; folder = dirname(folder)) {
      const value = Number(read(join(folder, file))?.trim() ?? Number.NaN)
      if (value > 0) limits.push(value)
      if (!folder.startsWith(`${mount.folder}/`)) break
    }
  }
  return limits.length === 0 ? null : Math.min(...limits)
}

function groupOf(cgroup: string, hierarchy: string): string | null {
  for (const line of cgroup.split('\n')) {
    const [, names = '', ...path] = line.split(':')
    if (line !== '' && names.split(',').includes(hierarchy)) return path.join(':')
  }
  return null
}

function mountOf(mountinfo: string, hierarchy: string): { root: string; folder: string } | null {
  for (const line of mountinfo.split('\n')) {
    const [front = '', back = ''] = line.split(' - ')
    const [, , , root = '', folder = ''] = front.split(' ')
    const [type = '', , options = ''] = back.split(' ')
    const isIt =
      hierarchy === ''
        ? type === 'cgroup2'
        : type === 'cgroup' && options.split(',').includes(hierarchy)
    if (isIt) return { root: root === '/' ? '' : root, folder }
  }
  return null
}
