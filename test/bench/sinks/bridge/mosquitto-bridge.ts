/**
 * Mosquitto with a bridge, as its users run it upstream of their devices: a queue that is persistent,
 * and no limit to it, or it would drop most of a backlog.
 */
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { freePort } from '../../../../device-sim/free-ports.ts'
import { findTool } from '../../../support/tools.ts'
import { listening, type Running, start } from '../../processes.ts'
import { readBatches } from '../bare/batches.ts'
import { Window } from '../bare/window.ts'

export interface BridgeSetup {
  readonly name: 'defaults' | 'tuned'
  /** Of its configuration. */
  readonly lines: readonly string[]
}

/**
 * `tuned` comes of trials: more in flight than 20 helps wherever acks are late, and the broker behind
 * it allows it in 3.1.1, which is what a bridge speaks by default.
 */
export const BRIDGE_SETUPS: readonly BridgeSetup[] = [
  { name: 'defaults', lines: [] },
  { name: 'tuned', lines: ['max_inflight_messages 1000', 'set_tcp_nodelay true'] },
]

/** Nobody is there. */
const NOWHERE = 1
/** More without PUBREC than Mosquitto has in flight, and QoS 2 stands still. */
const FILL_WINDOW = 20

/** A folder whose Mosquitto has all records in the queue of its bridge. */
export class BridgeBacklog {
  readonly #folder: string
  readonly #qos: 1 | 2
  #runs = 0

  private constructor(folder: string, qos: 1 | 2) {
    this.#folder = folder
    this.#qos = qos
  }

  /** @param batches folder of the batches whose records it gets */
  static async make(
    folder: string,
    qos: 1 | 2,
    batches: string,
    records: number,
  ): Promise<BridgeBacklog> {
    const backlog = new BridgeBacklog(folder, qos)
    mkdirSync(join(folder, 'filled'), { recursive: true })
    const { broker, port } = await backlog.#start('filled', NOWHERE, ['set_tcp_nodelay true'])
    try {
      await fill(port, qos, batches, records)
    } finally {
      // It stores its queues at its end.
      await broker.stop()
    }
    return backlog
  }

  /** A Mosquitto that finds the backlog in its files, and the receiver there. */
  async bridge(to: number, lines: readonly string[]): Promise<Running> {
    const name = `run-${++this.#runs}`
    cpSync(join(this.#folder, 'filled'), join(this.#folder, name), { recursive: true })
    return (await this.#start(name, to, lines)).broker
  }

  async #start(name: string, to: number, lines: readonly string[]) {
    const folder = join(this.#folder, name)
    const port = await freePort()
    const config = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'user root',
      'log_type error',
      'persistence true',
      `persistence_location ${folder}/`,
      'max_queued_messages 0',
      ...lines,
      'connection up',
      `address 127.0.0.1:${to}`,
      `topic # out ${this.#qos}`,
      'cleansession false',
      'restart_timeout 1',
      'notifications false',
      'try_private false',
    ]
    writeFileSync(join(folder, 'mosquitto.conf'), `${config.join('\n')}\n`)
    const command = findTool('mosquitto') ?? 'mosquitto'
    const broker = start(command, ['-c', join(folder, 'mosquitto.conf')])
    await listening(port, broker)
    return { broker, port }
  }
}

async function fill(port: number, qos: 1 | 2, batches: string, records: number): Promise<void> {
  const client = await connectAsync(`mqtt://127.0.0.1:${port}`)
  const window = new Window(FILL_WINDOW)
  let left = records
  for (const batch of readBatches(batches, records)) {
    for (const [i, { topic }] of batch.records.slice(0, left).entries()) {
      if (window.isFull) await window.hasRoom()
      window.sent()
      client.publish(topic, batch.payloads[i] ?? '', { qos }, window.acknowledged)
    }
    left -= Math.min(left, batch.records.length)
  }
  await window.isEmpty()
  await client.endAsync()
}
