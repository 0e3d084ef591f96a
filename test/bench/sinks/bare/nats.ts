/** The client of NATS: a message a batch, or a message a record with a window over all batches. */
import { jetstream } from '@nats-io/jetstream'
import { connect, headers } from '@nats-io/transport-node'
import type { Sender } from './sender.ts'
import type { BareTask } from './task.ts'
import { Window } from './window.ts'

export async function natsSender(task: Extract<BareTask, { kind: 'nats' }>): Promise<Sender> {
  const { server, message, subject } = task
  const connection = await connect({ servers: [server] })
  const stream = jetstream(connection)
  const window = new Window(task.window)
  const compressed = headers()
  compressed.set('Content-Encoding', 'gzip')
  return {
    send: async ({ stored, records, payloads }) => {
      if (message === 'batch') {
        await stream.publish(subject, stored, { headers: compressed })
        return
      }
      for (const [i, { id }] of records.entries()) {
        if (window.isFull) await window.hasRoom()
        window.sent()
        const taken = stream.publish(subject, payloads[i], { msgID: id })
        taken.then(() => window.acknowledged(), window.acknowledged)
      }
    },
    finish: () => window.isEmpty(),
    close: () => connection.close(),
  }
}
