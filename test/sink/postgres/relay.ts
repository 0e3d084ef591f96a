/** A relay in front of a server, that can lose the answer to a batch once the batch was taken. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** What the statement of a batch begins with. */
const STORES = Buffer.from('with moved as')
/** The simple query that ends a transaction. */
const COMMITS = Buffer.from('Q\0\0\0\x0bcommit\0')
/** ReadyForQuery: the statement was committed. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5])

export class Relay {
  readonly port: number
  /** The next answer to a batch is lost, and its connection with it. */
  losesAnswer = false
  /** The same, of the commit of a transaction. */
  losesAfterCommit = false
  /** Nobody is let through. */
  isDown = false
  /** Nothing that the server says goes on. */
  isSilent = false
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
    this.port = (server.address() as { readonly port: number }).port
  }

  static async to(target: () => number): Promise<Relay> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const relay = new Relay(server)
    server.on('connection', (near) => {
      if (relay.isDown) near.destroy()
      else relay.#join(near, connect(target(), '127.0.0.1'))
    })
    return relay
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(near: Socket, far: Socket): void {
    let isLosing = false
    for (const socket of [near, far]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        near.destroy()
        far.destroy()
      })
    }
    near.on('data', (bytes) => {
      if (this.losesAnswer && bytes.includes(STORES)) {
        this.losesAnswer = false
        isLosing = true
      }
      if (this.losesAfterCommit && bytes.includes(COMMITS)) isLosing = true
      far.write(bytes)
    })
    far.on('data', (bytes) => {
      if (!isLosing && !this.isSilent) near.write(bytes)
      else if (isLosing && bytes.includes(READY)) near.destroy()
    })
  }
}
