/**
 * What a host gives, read from what kernels write, and what of the configuration is then in effect.
 */
import { describe, expect, test } from 'vitest'
import {
  BASE_MEMORY_BYTES,
  cgroupMemory,
  fitToHost,
  type HostLimits,
  RESERVED_DESCRIPTORS,
} from '../gateway/host-limits.ts'
import { defaultConfig } from './support/configs.ts'

const MIB = 1024 * 1024
const config = defaultConfig('/')
const large: HostLimits = { descriptors: 1_048_576, memoryBytes: 8192 * MIB }

describe('the configuration on a host', () => {
  test('is in effect as written where there is room', () => {
    expect(fitToHost(config, large)).toEqual({ config, caps: [], maxOpenBytes: 64 * MIB })
    expect(fitToHost(config, { ...large, descriptors: null }).caps).toEqual([])
  })

  test('I6: leaves descriptors to store, sinks, admin server and log', () => {
    const { config: fitted, caps } = fitToHost(config, { ...large, descriptors: 1_024 })
    const reserved = RESERVED_DESCRIPTORS + 1 + 3 * (config.sinks['cloud']?.maxInFlight ?? 0)
    expect(fitted.mqtt.maxConnections).toBe(1_024 - reserved)
    expect(caps).toEqual([
      {
        key: 'maxConnections',
        configured: 10_000,
        effective: 1_024 - reserved,
        because: 'descriptors',
      },
    ])
    expect(fitToHost(config, { ...large, descriptors: 256 }).config.mqtt.maxConnections).toBe(64)
    expect(fitToHost(config, { ...large, descriptors: 20 }).config.mqtt.maxConnections).toBe(1)
  })

  test.each([64, 96, 128, 256, 512, 1024])(
    'I6: with %i MiB of memory all that may wait takes less than half of what the program leaves',
    (memory) => {
      const { config: fitted, maxOpenBytes } = fitToHost(config, {
        ...large,
        memoryBytes: memory * MIB,
      })
      const { mqtt } = fitted
      const waiting =
        mqtt.maxUnackedBytesTotal + mqtt.maxHoldBackBytesTotal + mqtt.maxSubscriberBytesTotal
      const left = memory * MIB - BASE_MEMORY_BYTES
      expect(waiting + maxOpenBytes).toBeLessThanOrEqual(Math.max(left / 2, 4 * MIB))
      // What the configuration demands of itself holds for what is in effect, too.
      expect(mqtt.maxUnackedBytes).toBeGreaterThanOrEqual(mqtt.maxPacketBytes)
      expect(mqtt.maxUnackedBytesTotal).toBeGreaterThanOrEqual(mqtt.maxUnackedBytes)
      expect(mqtt.maxHoldBackBytesTotal).toBeGreaterThanOrEqual(mqtt.maxHoldBackBytes)
      expect(mqtt.maxSubscriberBytesTotal).toBeGreaterThanOrEqual(mqtt.maxSubscriberBytes)
    },
  )

  test('never raises what the operator set lower', () => {
    const low = {
      ...config,
      mqtt: { ...config.mqtt, maxConnections: 5, maxUnackedBytesTotal: 1 * MIB },
    }
    const { mqtt } = fitToHost(low, { descriptors: 1_024, memoryBytes: 512 * MIB }).config
    expect(mqtt).toMatchObject({ maxConnections: 5, maxUnackedBytesTotal: 1 * MIB })
  })
})

describe('the memory of control groups', () => {
  /** A machine of files. */
  const machine = (files: Readonly<Record<string, string>>) => (path: string) => files[path] ?? null

  test('version 2: the smallest around the process counts', () => {
    const read = machine({
      '/proc/self/cgroup': '0::/system.slice/sluice.service/inner\n',
      '/proc/self/mountinfo': '31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n',
      '/sys/fs/cgroup/system.slice/sluice.service/inner/memory.max': 'max\n',
      '/sys/fs/cgroup/system.slice/sluice.service/memory.max': '134217728\n',
      '/sys/fs/cgroup/system.slice/memory.max': '268435456\n',
    })
    expect(cgroupMemory(read)).toBe(128 * MIB)
  })

  test('version 2 in a container: its group is the root', () => {
    const read = machine({
      '/proc/self/cgroup': '0::/\n',
      '/proc/self/mountinfo': '31 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n',
      '/sys/fs/cgroup/memory.max': '100663296\n',
    })
    expect(cgroupMemory(read)).toBe(96 * MIB)
  })

  test('version 1, in a container that sees the path of its host', () => {
    const read = machine({
      '/proc/self/cgroup': '9:name=systemd:/docker/abc\n4:memory:/docker/abc\n0::/\n',
      '/proc/self/mountinfo': [
        '32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
        '35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
        '36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
      ].join('\n'),
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '134217728\n',
    })
    expect(cgroupMemory(read)).toBe(128 * MIB)
  })

  test('none is set, or there are none', () => {
    expect(cgroupMemory(machine({}))).toBeNull()
    const read = machine({
      '/proc/self/cgroup': '0::/a\n',
      '/proc/self/mountinfo': '31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n',
      '/sys/fs/cgroup/a/memory.max': 'max\n',
    })
    expect(cgroupMemory(read)).toBeNull()
  })
})
