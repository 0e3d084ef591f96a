/**
 * What a cluster takes, on paper: from what one gateway was measured to take (README.md here) to any
 * number of devices. Pure. A device has one connection and sends a reading of 200 bytes every ten
 * seconds. Gateways and NATS servers have one core to themselves, of which a share is planned with.
 */

/** Measured on the machine of README.md here; see there for how. */
const MEASURED = {
  /** At 10,000 messages a second, all threads, deflate and delivery included. */
  microsPerMessage: 23.6,
  /** RssAnon. */
  bytesPerIdleConnection: 9.7 * 1024,
  baseBytes: 38_000_000,
  /** Of a gateway, by the slower of two runs. */
  connectsPerSecond: 3_470,
  /** Per payload byte, after deflate. */
  networkBytes: 0.28,
  /** Per payload byte, at 1,000 messages a second. */
  diskBytes: 0.86,
} as const

const PAYLOAD_BYTES = 200
const SECONDS_PER_READING = 10
/** Of a core: the rest is for catching up and for the devices of a neighbor. */
const PLANNED_SHARE = 0.5
const COMMITS_PER_SECOND = 20
const BYTES_PER_COMMIT = 128 * 1024
const REPLICAS = 3
/** One gateway and its disk may be gone. */
const LEAST_GATEWAYS = 3
/** Memory of a gateway that is planned with. */
const GATEWAY_BYTES = 4e9
/** Local ports of one address (Linux, `ip_local_port_range` at its widest). */
const PORTS = 64_000

export interface ClusterCost {
  readonly devices: number
  readonly messagesPerSecond: number
  readonly gateways: number
  /** What decides how many gateways there are. */
  readonly limit: 'availability' | 'processor' | 'memory'
  readonly connectionsPerGateway: number
  readonly memoryPerGateway: number
  /** Of each gateway. */
  readonly fsyncsPerSecond: number
  readonly diskBytesPerSecond: number
  /** Into the engine, before it makes replicas. */
  readonly engineBytesPerSecond: number
  /** Publishes, each acknowledged by a majority. */
  readonly engineBatchesPerSecond: number
  /** HAProxy's source addresses for each gateway: a connection takes a port. */
  readonly sourceAddresses: number
  /** Until all devices are back after a power cut, at the measured pace of CONNECTs. */
  readonly returnSeconds: number
  /** Of one gateway, as measured. */
  readonly connectsPerSecond: number
}

export function clusterCost(devices: number): ClusterCost {
  const messagesPerSecond = devices / SECONDS_PER_READING
  const byProcessor = Math.ceil(
    (messagesPerSecond * MEASURED.microsPerMessage) / (1e6 * PLANNED_SHARE),
  )
  const perGateway = GATEWAY_BYTES - MEASURED.baseBytes
  const byMemory = Math.ceil((devices * MEASURED.bytesPerIdleConnection) / perGateway)
  const gateways = Math.max(LEAST_GATEWAYS, byProcessor, byMemory)
  const limit =
    gateways === byProcessor ? 'processor' : gateways === byMemory ? 'memory' : 'availability'
  const connections = Math.ceil(devices / gateways)
  const payload = (messagesPerSecond / gateways) * PAYLOAD_BYTES
  const commits = Math.max(COMMITS_PER_SECOND, payload / BYTES_PER_COMMIT)
  return {
    devices,
    messagesPerSecond,
    gateways,
    limit,
    connectionsPerGateway: connections,
    memoryPerGateway: MEASURED.baseBytes + connections * MEASURED.bytesPerIdleConnection,
    fsyncsPerSecond: commits,
    diskBytesPerSecond: payload * MEASURED.diskBytes,
    engineBytesPerSecond: messagesPerSecond * PAYLOAD_BYTES * MEASURED.networkBytes,
    engineBatchesPerSecond: gateways * commits,
    sourceAddresses: Math.ceil(connections / PORTS),
    returnSeconds: connections / MEASURED.connectsPerSecond,
    connectsPerSecond: MEASURED.connectsPerSecond,
  }
}

/** Rows for people; `REPLICAS` times the engine's bytes go to its disks. */
export function clusterCostRows(): string[][] {
  return [1e4, 1e5, 1e6, 1e7].map((devices) => {
    const cost = clusterCost(devices)
    return [
      cost.devices.toLocaleString('en'),
      cost.messagesPerSecond.toLocaleString('en'),
      `${cost.gateways} (${cost.limit})`,
      cost.connectionsPerGateway.toLocaleString('en'),
      mb(cost.memoryPerGateway),
      `${Math.round(cost.fsyncsPerSecond)}, ${mb(cost.diskBytesPerSecond)}/s`,
      `${Math.round(cost.engineBatchesPerSecond).toLocaleString('en')}, ${mb(cost.engineBytesPerSecond)}/s`,
      `${mb(cost.engineBytesPerSecond * REPLICAS)}/s`,
      String(cost.sourceAddresses),
      `${Math.ceil(cost.returnSeconds)} s`,
    ]
  })
}

export const CLUSTER_COST_HEAD = [
  'devices',
  'messages/s',
  'gateways (limited by)',
  'connections of each',
  'memory of each',
  'fsyncs/s and disk of each',
  'batches/s and bytes into NATS',
  'disks of NATS',
  'source addresses of HAProxy',
  'all back after a power cut',
]

function mb(bytes: number): string {
  return `${(bytes / 1e6).toLocaleString('en', { maximumFractionDigits: 1 })} MB`
}
