/**
 * A real gateway process and the reference cloud, for tests from outside: real sockets, real files,
 * real kills.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cloud } from '../../device-sim/cloud/cloud.ts'
import { readStore } from '../../device-sim/cloud/store/store.ts'
import { GatewayProcess } from '../../device-sim/demo/gateway-process.ts'
import { parseStoredLine } from '../../device-sim/ledger/stored-line.ts'
import { builtProgram } from '../support/process.ts'

export interface StoredRecord {
  readonly device: string
  readonly topic: string
  readonly qos: number
  readonly seq: number
  readonly payload: Buffer
  readonly will?: boolean
  readonly retain?: boolean
}

const START_TIMEOUT_MS = 20_000
const POLL_MS = 20

export class Rig {
  readonly folder: string
  readonly cloud: Cloud
  readonly gateway: GatewayProcess

  private constructor(folder: string, cloud: Cloud, gateway: GatewayProcess) {
    this.folder = folder
    this.cloud = cloud
    this.gateway = gateway
  }

  /** @param sections replace sections of the gateway's configuration */
  static async start(sections: Readonly<Record<string, unknown>> = {}): Promise<Rig> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-e2e-'))
    const cloud = await Cloud.start({ dir: join(folder, 'cloud') })
    const gateway = await GatewayProcess.prepare({
      folder,
      sinkUrl: cloud.url,
      program: builtProgram('gateway'),
      sections,
    })
    const rig = new Rig(folder, cloud, gateway)
    try {
      await rig.startGateway()
    } catch (error) {
      await rig.close()
      throw error
    }
    return rig
  }

  get mqttPort(): string {
    return new URL(this.gateway.mqttUrl).port
  }

  /** @throws with the log when it does not become ready */
  async startGateway(): Promise<void> {
    this.gateway.start()
    if (!(await this.gateway.ready(START_TIMEOUT_MS))) {
      throw new Error(`the gateway is not ready\n${this.gateway.logTail(30)}`)
    }
  }

  /** SIGKILL, and up again on the same ports and folder. */
  async killAndRestart(): Promise<void> {
    if (!(await this.gateway.kill())) throw new Error('the gateway was not running')
    await this.startGateway()
  }

  /**
   * What the cloud has stored, as soon as it is `count` records. @throws when that takes too long
   */
  async records(count: number, timeoutMs = 15_000): Promise<StoredRecord[]> {
    const endMs = performance.now() + timeoutMs
    while (this.cloud.stats.records < count) {
      if (performance.now() > endMs) {
        const { records } = this.cloud.stats
        throw new Error(
          `the cloud has ${records} of ${count} records after ${timeoutMs} ms\n${this.gateway.logTail(30)}`,
        )
      }
      await sleep(POLL_MS)
    }
    const records: StoredRecord[] = []
    for await (const { line } of readStore(join(this.folder, 'cloud'))) {
      const record = JSON.parse(line.toString()) as Omit<StoredRecord, 'payload'>
      records.push({ ...record, payload: parseStoredLine(line).payload })
    }
    return records
  }

  async close(): Promise<void> {
    await this.gateway.stop()
    await this.cloud.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
