/** A TCP link to a server that can be cut, and that can lose the answer to a message. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { freePort } from '../../../device-sim/free-ports.ts'

/** So that the server has stored what it got. */
const LOST_RESET_MS = 60

export class NatsProxy {
  readonly port: number
  readonly #target: number
  readonly #sockets = new Set<Socket>()
  #server: Server | null = null
  #losesNext = false

  private constructor(port: number, target: number) {
    this.port = port
    this.#target = target
  }

  static async to(target: number): Promise<NatsProxy> {
    const proxy = new NatsProxy(await freePort(), target)
    await proxy.listen()
    return proxy
  }

  async listen(): Promise<void> {
    const server = createServer((near) => this.#join(near))
    server.listen(this.port, '127.0.0.1')
    await once(server, 'listening')
    this.#server = server
  }

  /** Nobody listens, and connections are reset. */
  async refuse(): Promise<void> {
    const server = this.#server
    this.#server = null
    const closed = server === null ? null : once(server, 'close')
    server?.close()
    this.cut()
    await closed
  }

  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  /** Nothing comes back from the next message with an id on, and the connection is reset. */
  loseAnswer(): void {
    this.#losesNext = true
  }

  #join(near: Socket): void {
    const far = connect(this.#target, '127.0.0.1')
    let isMute = false
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        other.destroy()
      })
    }
    near.on('data', (bytes: Buffer) => {
      if (this.#losesNext && bytes.includes('Nats-Msg-Id')) {
        this.#losesNext = false
        isMute = true
        setTimeout(() => near.resetAndDestroy(), LOST_RESET_MS)
      }
      far.write(bytes)
    })
    far.on('data', (bytes: Buffer) => {
      if (!isMute) near.write(bytes)
    })
  }
}
