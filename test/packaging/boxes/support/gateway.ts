/** A gateway inside a box: its configuration, and a device that publishes to it. */
import { connectAsync, type MqttClient } from 'mqtt'
import { freePorts } from '../../../../device-sim/free-ports.ts'
import type { Status } from '../../../../gateway/ports/status.ts'

const POLL_MS = 20
const PATIENCE_MS = 60_000

export interface Addresses {
  readonly mqtt: number
  readonly admin: number
}

export async function freeAddresses(): Promise<Addresses> {
  const [mqtt = 0, admin = 0] = await freePorts(2)
  return { mqtt, admin }
}

/** Readings of any topic, for a web service; `stream` are more keys of the stream. */
export function configuration(
  { mqtt, admin }: Addresses,
  sinkUrl: string,
  { dataDir = '/var/lib/sluice', stream = '' } = {},
): string {
  const lines = [
    `gateway: { id: hall-2, dataDir: ${dataDir} }`,
    `mqtt: { allowAnonymous: true, listeners: [{ host: 127.0.0.1, port: ${mqtt} }] }`,
    `admin: { port: ${admin} }`,
    `streams: { telemetry: { topics: ["#"], sink: cloud${stream} } }`,
    `sinks: { cloud: { url: "${sinkUrl}" } }`,
    'spool: { minFreeBytes: 1MiB }',
    'log: { format: json }',
  ]
  return `${lines.join('\n')}\n`
}

export async function connect({ mqtt }: Addresses): Promise<MqttClient> {
  return connectAsync(`mqtt://127.0.0.1:${mqtt}`, { clientId: 'press-7' })
}

export async function untilStatus(
  { admin }: Addresses,
  what: string,
  holds: (status: Status) => boolean,
): Promise<Status> {
  const endMs = performance.now() + PATIENCE_MS
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${admin}/api/status`)
    const status = (await response.json()) as Status
    if (holds(status)) return status
    if (performance.now() > endMs) throw new Error(`${what}: ${JSON.stringify(status.streams)}`)
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS)
    })
  }
}
