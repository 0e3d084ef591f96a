/**
 * A sink as raw bytes over a real socket: a test writes what it likes, when it likes. Also over
 * TLS.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { createHttpSink } from '../../../gateway/sink/http/http-sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { sinkConfig } from './batches.ts'

export class RawSink {
  /** Connections in order of their coming. */
  readonly sockets: Socket[] = []
  readonly #server: Server
  readonly #tls: boolean
  readonly #sinks: ConfiguredSink[] = []

  private constructor(server: Server, tls: boolean) {
    this.#server = server
    this.#tls = tls
  }

  /** @param onConnection what to do with each */
  static async start(
    onConnection: (socket: Socket, index: number) => void,
    tls: TlsOptions | null = null,
  ): Promise<RawSink> {
    const server = tls === null ? createServer() : createTlsServer(tls)
    const raw = new RawSink(server, tls !== null)
    server.on(tls === null ? 'connection' : 'secureConnection', (socket: Socket) => {
      socket.on('error', () => undefined)
      raw.sockets.push(socket)
      onConnection(socket, raw.sockets.length - 1)
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    return raw
  }

  get url(): string {
    const { port } = this.#server.address() as { port: number }
    return `${this.#tls ? 'https' : 'http'}://127.0.0.1:${port}/ingest`
  }

  sink(changes: Parameters<typeof sinkConfig>[1] = {}): ConfiguredSink {
    const sink = createHttpSink({
      name: 'cloud',
      config: sinkConfig(this.url, changes),
      emit: () => undefined,
    })
    this.#sinks.push(sink)
    return sink
  }

  async close(): Promise<void> {
    await Promise.all(this.#sinks.map((sink) => sink.close()))
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/**
 * Calls `onRequest` with the number of each whole request of a connection, from 0, and its body.
 */
export function onRequests(socket: Socket, onRequest: (index: number, body: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  let index = 0
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    for (;;) {
      const at = rest.indexOf('\r\n\r\n')
      if (at < 0) return
      const head = rest.toString('latin1', 0, at)
      const end = at + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      if (rest.length < end) return
      const body = rest.subarray(at + 4, end)
      rest = rest.subarray(end)
      onRequest(index, body)
      index += 1
    }
  })
}
