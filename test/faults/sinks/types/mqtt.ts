/**
 * MQTT: Mosquitto at QoS 1 and at QoS 2, and another gateway at QoS 2. A subscriber with a session of
 * its own reads Mosquitto back; the other gateway writes files. Mosquitto stores its sessions when it
 * is stopped: what a SIGKILL takes from it, it had acknowledged from memory, so only the gateway,
 * which acknowledges what is on its disk, is killed.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Random } from '../../../../device-sim/random.ts'
import { Mosquitto, Subscriber } from '../../../sink/mqtt/mosquitto.ts'
import { GatewayProcess } from '../../../support/gateway-process.ts'
import {
  type Planted,
  type StoredReading,
  TAKEN_FOR_DELIVERED,
  type TestedReceiver,
  type TestedType,
} from '../receiver.ts'
import { readingsOf } from './lines.ts'

const WINDOW = 8
/** A kill behind the last acknowledgment of a batch brings all of it again. */
const BATCH = 20
const DRAIN_MS = 20_000

const KEYS = {
  type: 'mqtt',
  message: 'record',
  timeout: '1s',
  window: WINDOW,
  maxBatchRecords: BATCH,
}

const FORGETFUL: Planted = {
  defect: 'notes are not durable',
  only: ['killed at note.after', 'killed at send.step'],
  seenAs: /I4: there more than once/,
}

export const testedMqtt: TestedType = {
  delivery: 'at least once',
  window: BATCH,
  tools: ['mosquitto'],
  planted: [
    {
      defect: 'no answer is an ack',
      only: ['link refused'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  open: async (folder) => await MosquittoReceiver.open(folder, 1),
}

export const testedMqttQos2: TestedType = {
  delivery: 'exactly once',
  tools: ['mosquitto'],
  keepsNotes: true,
  planted: [FORGETFUL],
  open: async (folder) => await MosquittoReceiver.open(folder, 2),
}

export const testedMqttToGateway: TestedType = {
  delivery: 'exactly once',
  tools: [],
  keepsNotes: true,
  // Those of QoS 2 are shown with Mosquitto.
  planted: [],
  open: async (folder) => await GatewayReceiver.open(folder),
}

class MosquittoReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles = {
    stopped: {
      begin: async () => await this.#broker.end(),
      end: async () => await this.#broker.begin(),
    },
  }
  readonly #broker: Mosquitto
  readonly #reader: Subscriber
  readonly #qos: 1 | 2

  private constructor(broker: Mosquitto, reader: Subscriber, qos: 1 | 2) {
    this.port = broker.port
    this.#broker = broker
    this.#reader = reader
    this.#qos = qos
  }

  static async open(folder: string, qos: 1 | 2): Promise<MosquittoReceiver> {
    const own = join(folder, 'mosquitto')
    mkdirSync(own)
    const broker = await Mosquitto.start(own, [
      'persistence true',
      `persistence_location ${own}/`,
      'max_queued_messages 0',
    ])
    return new MosquittoReceiver(broker, await Subscriber.start(broker.url), qos)
  }

  sink(port: number, random: Random): Readonly<Record<string, unknown>> {
    const version = random.chance(0.5) ? '3.1.1' : 5
    return { ...KEYS, url: `mqtt://127.0.0.1:${port}`, qos: this.#qos, version }
  }

  async read(): Promise<readonly StoredReading[]> {
    const seen = await this.#reader.readings()
    return readingsOf(seen.map(({ text }) => text).join('\n'))
  }

  async close(): Promise<void> {
    await this.#reader.close()
    await this.#broker.end()
  }
}

class GatewayReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles = {
    stopped: {
      begin: async () => void (await this.#gateway.stop()),
      end: async () => await this.#gateway.start(),
    },
    killed: {
      begin: async () => await this.#gateway.kill(),
      end: async () => await this.#gateway.start(),
    },
  }
  readonly #gateway: GatewayProcess
  readonly #outbox: string

  private constructor(gateway: GatewayProcess, outbox: string) {
    this.port = gateway.mqttPort
    this.#gateway = gateway
    this.#outbox = outbox
  }

  static async open(folder: string): Promise<GatewayReceiver> {
    const own = join(folder, 'other')
    const outbox = join(own, 'outbox')
    mkdirSync(outbox, { recursive: true })
    const file = { type: 'file', folder: outbox, linger: '0s', minFreeBytes: 0 }
    const gateway = await GatewayProcess.start({
      folder: own,
      sinkUrl: '',
      sections: { gateway: { id: 'other' }, sinks: { cloud: file } },
      env: { NODE_OPTIONS: '' },
    })
    return new GatewayReceiver(gateway, outbox)
  }

  sink(port: number): Readonly<Record<string, unknown>> {
    return { ...KEYS, url: `mqtt://127.0.0.1:${port}`, qos: 2 }
  }

  async read(): Promise<readonly StoredReading[]> {
    await this.#gateway.untilStatus(
      'all in files',
      ({ streams }) => streams.every(({ counters }) => counters.pending === 0),
      DRAIN_MS,
    )
    const names = readdirSync(this.#outbox).filter((name) => name.endsWith('.gz'))
    return names.toSorted().flatMap((name) =>
      gunzipSync(readFileSync(join(this.#outbox, name)))
        .toString()
        .split('\n')
        .filter((line) => line !== '')
        // What it got is a line of the gateway that is tested.
        .flatMap((line) =>
          readingsOf(JSON.stringify((JSON.parse(line) as { payload: unknown }).payload)),
        ),
    )
  }

  async close(): Promise<void> {
    await this.#gateway.process.reap()
  }
}
