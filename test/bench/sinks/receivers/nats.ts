/** A nats-server with a stream in files: a message a batch, and a message a record. */
import {
  NATS_TOOLS,
  NatsAdmin,
  type ReadMessage,
  STREAM,
  startServer,
} from '../../../sink/nats/server.ts'
import type { Contest } from '../contest.ts'

/** A batch of 10,000 records is larger than a message may be by default. */
const CONFIG = 'max_payload: 8MB'
const WINDOW = 1000
const SUBJECT = 'sluice.bench'

const MODES = [
  { message: 'batch', records: 400_000 },
  { message: 'record', records: 150_000 },
] as const

export const natsContests: readonly Contest[] = MODES.map(({ message, records }) => ({
  name: `nats-${message}`,
  tools: NATS_TOOLS,
  records,
  about: `nats-server, files; its client, a message a ${message}`,
  open: async (folder) => {
    const server = await startServer(folder, CONFIG)
    const admin = await NatsAdmin.to([server.port])
    await admin.makeStream()
    const address = `127.0.0.1:${server.port}`
    return {
      place: async () => {
        await admin.deleteStream()
        await admin.makeStream()
        return {
          sink: { type: 'nats', servers: [address], jetStream: STREAM, message, window: WINDOW },
          bare: { kind: 'nats', server: address, message, subject: SUBJECT, window: WINDOW },
          stored: async () => {
            const { messages } = await admin.state()
            return message === 'record' ? messages : linesOf(await admin.read())
          },
        }
      },
      close: async () => {
        await admin.close()
        await server.reap()
      },
    }
  },
}))

function linesOf(messages: readonly ReadMessage[]): number {
  return messages.reduce((sum, { text }) => sum + text.split('\n').length - 1, 0)
}
