/** NATS: whole batches or records into a stream, of one server or of a cluster of three. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Random } from '../../../../device-sim/random.ts'
import {
  NATS_TOOLS,
  NatsAdmin,
  type NatsServer,
  STREAM,
  startCluster,
  startServer,
} from '../../../sink/nats/server.ts'
import { endings, TAKEN_FOR_DELIVERED, type TestedReceiver, type TestedType } from '../receiver.ts'
import { readingsOf } from './lines.ts'

const WINDOW = 7
const MAX_BATCH_RECORDS = 20
/** Of a message; a record that is larger is refused. */
const MAX_MESSAGE_BYTES = 16 * 1024
/** Messages, until a stream is full: more than come while its limit is changed. */
const ROOM_LEFT = 1000
const FILLER = 'sluice.filler'
const USER = { user: 'sluice', pass: 'right' } as const

export const testedNats: TestedType = {
  delivery: 'exactly once',
  tools: NATS_TOOLS,
  planted: [
    {
      defect: 'a repeat is not known',
      only: ['killed at answer.read'],
      seenAs: /I4: there more than once/,
    },
    {
      defect: 'no answer is an ack',
      only: ['link refused'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  open: async (folder) => await NatsReceiver.single(folder, 'batch'),
}

/** Its leader is killed, and the others go on. */
export const testedNatsCluster: TestedType = {
  delivery: 'exactly once',
  tools: NATS_TOOLS,
  planted: [],
  open: async (folder) => await NatsReceiver.cluster(folder),
}

export const testedNatsRecords: TestedType = {
  delivery: 'at least once',
  window: WINDOW,
  tools: NATS_TOOLS,
  planted: [
    {
      defect: 'no answer is an ack',
      only: ['link refused'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  poison: (n) => JSON.stringify({ n, x: 'x'.repeat(MAX_MESSAGE_BYTES) }),
  open: async (folder) => await NatsReceiver.single(folder, 'record'),
}

class NatsReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles: TestedReceiver['troubles']
  readonly #servers: readonly NatsServer[]
  readonly #admin: NatsAdmin
  readonly #message: 'batch' | 'record'
  readonly #passwordFile: string | null

  private constructor(
    servers: readonly NatsServer[],
    admin: NatsAdmin,
    message: 'batch' | 'record',
    passwordFile: string | null,
  ) {
    const [first] = servers
    assert(first !== undefined)
    this.#servers = servers
    this.#admin = admin
    this.#message = message
    this.#passwordFile = passwordFile
    this.port = first.port
    this.troubles =
      passwordFile === null ? { killed: this.#killedLeader() } : this.#troublesOfOne(first)
  }

  static async single(folder: string, message: 'batch' | 'record'): Promise<NatsReceiver> {
    const passwordFile = join(folder, 'password')
    writeFileSync(passwordFile, `${USER.pass}\n`)
    const server = await startServer(join(folder, 'nats'), authOf(USER.pass))
    const admin = await NatsAdmin.to([server.port], { user: 'admin', pass: 'admin' })
    const receiver = new NatsReceiver([server], admin, message, passwordFile)
    await receiver.#makeStream()
    return receiver
  }

  static async cluster(folder: string): Promise<NatsReceiver> {
    const servers = await startCluster(join(folder, 'nats'))
    const admin = await NatsAdmin.to(servers.map(({ port }) => port))
    const receiver = new NatsReceiver(servers, admin, 'batch', null)
    await receiver.#makeStream()
    return receiver
  }

  sink(port: number, random: Random): Readonly<Record<string, unknown>> {
    const login =
      this.#passwordFile === null
        ? { minReplicas: 3 }
        : { user: USER.user, password: { file: this.#passwordFile } }
    return {
      type: 'nats',
      servers: [`127.0.0.1:${port}`],
      jetStream: STREAM,
      message: this.#message,
      ...(this.#message === 'batch'
        ? { compression: random.chance(0.5) ? 'gzip' : 'none' }
        : { body: 'record', window: WINDOW }),
      ...login,
      connectTimeout: '1s',
      timeout: '1s',
      maxBatchRecords: MAX_BATCH_RECORDS,
    }
  }

  async read(): ReturnType<TestedReceiver['read']> {
    const messages = await this.#admin.read()
    return messages
      .filter(({ subject }) => subject !== FILLER)
      .flatMap(({ text }) => readingsOf(text))
  }

  async close(): Promise<void> {
    await this.#admin.close()
    for (const server of this.#servers) await server.reap()
  }

  #troublesOfOne(server: NatsServer): TestedReceiver['troubles'] {
    const again = async (): Promise<void> => {
      await server.start()
      await this.#streamIsThere()
    }
    return {
      ...endings(server, again),
      'locked-out': {
        begin: () => server.reload(authOf('another')),
        end: () => server.reload(authOf(USER.pass)),
      },
      'no-place': {
        begin: () => this.#admin.deleteStream(),
        end: () => this.#makeStream(),
        onlyAtFirst: true,
      },
      // A limit below what is there would take the oldest away: there is room, and it is filled.
      busy: {
        begin: async () => {
          const { messages } = await this.#admin.state()
          await this.#admin.changeStream({ max_msgs: messages + ROOM_LEFT })
          await this.#admin.fill(FILLER)
        },
        end: () => this.#admin.changeStream({ max_msgs: -1 }),
      },
    }
  }

  #killedLeader() {
    let killed: NatsServer | undefined
    return {
      begin: async () => {
        const leader = (await this.#admin.leader()) ?? ''
        killed = this.#servers[Number(leader.slice(1))] ?? this.#servers[0]
        await killed?.end('SIGKILL')
      },
      end: async () => {
        await killed?.start()
        await this.#streamIsThere()
      },
    }
  }

  async #makeStream(): Promise<void> {
    await this.#admin.makeStream({
      num_replicas: this.#servers.length,
      discard: 'new',
      ...(this.#message === 'record' ? { max_msg_size: MAX_MESSAGE_BYTES } : {}),
    })
  }

  /** It has a leader again. */
  async #streamIsThere(): Promise<void> {
    await this.#admin.waitForLeader()
  }
}

function authOf(password: string): string {
  const users = [
    '{ user: admin, password: admin }',
    `{ user: ${USER.user}, password: ${password} }`,
  ]
  return `authorization { users: [ ${users.join(', ')} ] }`
}
