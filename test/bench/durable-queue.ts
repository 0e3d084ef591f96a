/**
 * Makes a peer store what it acknowledges: a persistent session with a subscription at QoS 1 that
 * then goes away. In RabbitMQ this is a durable queue bound to amq.topic; in NATS it gives the
 * stream of messages its interest. Without it both acknowledge and keep nothing.
 */
import { connect } from 'node:net'
import { connectFrame, encodeLength, utf8 } from './readings.ts'

const SUBACK = 9
const DISCONNECT = Buffer.from([0xe0, 0])
const TIMEOUT_MS = 20_000

export async function bindDurableQueue(port: number): Promise<void> {
  const filter = Buffer.concat([Buffer.from([0, 1]), utf8('plant/#'), Buffer.from([1])])
  const subscribe = Buffer.concat([Buffer.from([0x82]), encodeLength(filter.length), filter])
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.setTimeout(TIMEOUT_MS)
  await new Promise<void>((resolve, reject) => {
    let bytes = Buffer.alloc(0)
    socket.on('connect', () => socket.write(connectFrame('bench-durable', false)))
    socket.on('data', (chunk) => {
      const connected = bytes.length >= 4
      bytes = Buffer.concat([bytes, chunk])
      if (!connected && bytes.length >= 4) socket.write(subscribe)
      // CONNACK takes four bytes, SUBACK five; its last one is the granted QoS.
      if (bytes.length < 9) return
      if ((bytes[4] as number) >> 4 === SUBACK && bytes[8] === 1) resolve()
      else reject(new Error(`no durable subscription at QoS 1: ${bytes.toString('hex')}`))
    })
    socket.on('error', reject)
    socket.on('timeout', () => reject(new Error('the peer does not answer SUBSCRIBE')))
  })
  socket.end(DISCONNECT)
  await new Promise((resolve) => socket.on('close', resolve))
}
