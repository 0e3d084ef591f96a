/**
 * A broker in this process, read back by a subscriber inside of it, for the conformance suite: it
 * needs no other program.
 */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { Aedes } from 'aedes'
import { createMqttSink } from '../../../gateway/sink/mqtt/sink.ts'
import type { SinkHarness } from '../conformance.ts'
import { mqttSinkConfig } from './configs.ts'

const GAPS_TOPIC = 'gateway/gaps'

export const mqttHarness: SinkHarness = {
  promise: 'at least once',
  open: async () => {
    const taken: Array<{ topic: string; text: string }> = []
    const sockets = new Set<Socket>()
    let isOut = false
    let isTrouble = false
    let losesNext = false
    let most = Number.POSITIVE_INFINITY
    const aedes = await Aedes.createBroker({
      authenticate: (_client, _name, _password, done) => {
        if (!isTrouble) return done(null, true)
        done(Object.assign(new Error('bad user name or password'), { returnCode: 4 }), null)
      },
      authorizePublish: (client, { topic, payload }, done) => {
        const text = payload.toString()
        const isTaken = topic === GAPS_TOPIC || seqOf(text) <= most
        if (isTaken) taken.push({ topic, text })
        if (isTaken && !losesNext) {
          done(null)
        } else {
          losesNext = false
          // Acknowledgments of those before still leave.
          const socket = client?.conn as Socket | undefined
          socket?.destroySoon()
        }
      },
    })
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      if (isOut) socket.destroy()
      else aedes.handle(socket)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const config = mqttSinkConfig({
      url: `mqtt://127.0.0.1:${port}`,
      message: 'record',
      gaps: { topic: GAPS_TOPIC },
    })
    const cut = (): void => {
      for (const socket of sockets) socket.destroy()
    }
    const texts = (isGap: boolean): string[] =>
      taken.filter(({ topic }) => (topic === GAPS_TOPIC) === isGap).map(({ text }) => text)
    return {
      sink: () => createMqttSink({ name: 'cloud', config, emit: () => undefined }),
      config: { ...config },
      ids: () => texts(false).map((text) => (JSON.parse(text) as { id: string }).id),
      gaps: () => [...new Set(texts(true))],
      outage: () => {
        isOut = true
        cut()
        return () => {
          isOut = false
        }
      },
      trouble: () => {
        isTrouble = true
        cut()
        return () => {
          isTrouble = false
        }
      },
      loseAnswer: () => {
        losesNext = true
      },
      takeThrough: (seq) => {
        most = seq ?? Number.POSITIVE_INFINITY
      },
      refuse: null,
      close: async () => {
        cut()
        server.close()
        await new Promise<void>((resolve) => aedes.close(resolve))
      },
    }
  },
}

function seqOf(text: string): number {
  return (JSON.parse(text) as { seq: number }).seq
}
