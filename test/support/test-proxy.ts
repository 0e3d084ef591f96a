/** A small HTTP proxy that opens ways by CONNECT, or answers as it is told. */
import { connect, createServer, type Server, type Socket } from 'node:net'

/** What it was asked, and what it answers: bytes, or null to open the way. */
export class TestProxy {
  readonly heads: string[] = []
  answer: (head: string) => string | null = () => null
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor() {
    this.#server = createServer((socket) => this.#serve(socket))
  }

  /** @param port 0: any that is free */
  static async start(port = 0): Promise<TestProxy> {
    const proxy = new TestProxy()
    await new Promise<void>((resolve) => {
      proxy.#server.listen(port, '127.0.0.1', resolve)
    })
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  #serve(socket: Socket): void {
    this.#keep(socket)
    let head = ''
    const onData = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      if (!head.endsWith('\r\n\r\n')) return
      socket.off('data', onData)
      this.heads.push(head)
      const answer = this.answer(head)
      if (answer !== null) {
        socket.write(answer)
        return
      }
      const [, host = '', port = ''] = /^CONNECT \[?([^\s\]]+?)\]?:(\d+) /.exec(head) ?? []
      const way = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection established\r\nvia: 1.1 test\r\n\r\n')
        socket.pipe(way).pipe(socket)
      })
      this.#keep(way)
    }
    socket.on('data', onData)
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
