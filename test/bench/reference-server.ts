/**
 * What reading and acknowledging cost by themselves: a bare TCP server that cuts the same bytes
 * into frames, keeps nothing, and acknowledges at an interval, in one write per connection. argv:
 * port, interval in ms. With a file instead of the interval it appends what it read and
 * acknowledges behind the fdatasync, in Node's thread pool: the least that an ack from disk can
 * take here.
 */
import { fdatasync, openSync, write } from 'node:fs'
import { createServer, type Socket } from 'node:net'

const [, , port, intervalOrFile = ''] = process.argv
const intervalMs = Number(intervalOrFile)
const log = Number.isNaN(intervalMs) ? openSync(intervalOrFile, 'w') : null

interface Connection {
  readonly socket: Socket
  rest: Buffer
  ids: number[]
}

const connections = new Set<Connection>()

/**
 * Takes whole frames off the front; packet ids of PUBLISHes at QoS 1 wait for the next interval.
 */
function read(connection: Connection, chunk: Buffer): void {
  const bytes = connection.rest.length === 0 ? chunk : Buffer.concat([connection.rest, chunk])
  let at = 0
  for (;;) {
    let length = 0
    let digits = 0
    let byte = 0x80
    while ((byte & 0x80) !== 0 && at + 1 + digits < bytes.length) {
      byte = bytes[at + 1 + digits] as number
      length |= (byte & 0x7f) << (7 * digits)
      digits++
    }
    const body = at + 1 + digits
    if ((byte & 0x80) !== 0 || body + length > bytes.length) break
    const type = (bytes[at] as number) >> 4
    if (type === 1) connection.socket.write(Buffer.from([0x20, 2, 0, 0]))
    else if (type === 3)
      connection.ids.push(bytes.readUInt16BE(body + 2 + bytes.readUInt16BE(body)))
    at = body + length
  }
  connection.rest = bytes.subarray(at)
}

function acknowledge(): void {
  for (const connection of connections) {
    const { ids } = connection
    if (ids.length === 0) continue
    const acks = Buffer.allocUnsafe(ids.length * 4)
    ids.forEach((id, i) => {
      acks.writeUInt16BE(0x4002, i * 4)
      acks.writeUInt16BE(id, i * 4 + 2)
    })
    connection.ids = []
    connection.socket.write(acks)
  }
}

if (log === null) setInterval(acknowledge, intervalMs)

createServer({ noDelay: true }, (socket) => {
  const connection: Connection = { socket, rest: Buffer.alloc(0), ids: [] }
  connections.add(connection)
  socket.on('data', (chunk) => {
    read(connection, chunk)
    if (log !== null && connection.ids.length > 0)
      write(log, chunk, () => fdatasync(log, acknowledge))
  })
  socket.on('error', () => undefined)
  socket.on('close', () => connections.delete(connection))
}).listen(Number(port), '127.0.0.1')
