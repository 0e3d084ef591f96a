/**
 * What the gateway says last arrives, whatever the client is still sending: bytes that nobody reads
 * would make the system reset the connection, and throw away what is on its way.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { Transport } from '../../../gateway/broker/gate/transport.ts'
import { CLOSE_GRACE_MS, MAX_DISCARDED_BYTES } from '../../../gateway/broker/limits.ts'
import { LinkEnd } from '../../support/memory-link.ts'
import { encodeVarint } from '../../support/mqtt-properties.ts'
import { RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const ROUNDS = 20
const LIMITS = { maxPacketBytes: 4_096, maxConnectPacketBytes: 1_024 }

/** A packet with so many bytes behind its header. */
const large = (first: number, bytes: number): Buffer =>
  Buffer.concat([Buffer.of(first), encodeVarint(bytes), Buffer.alloc(bytes)])

/** Resolves with how it ended: empty, or the code of the error. */
async function endOf(socket: Socket): Promise<string> {
  let code = ''
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code ?? ''
  })
  if (!socket.closed) await once(socket, 'close')
  return code
}

test('DISCONNECT 0x95 arrives behind a packet that is too large and sent to its end [MQTT-3.2.2-15]', async () => {
  const rig = await startRig(LIMITS)
  for (let round = 0; round < ROUNDS; round += 1) {
    const client = await RawMqtt.connect(rig.port, { level: 5, clientId: 'd' })
    const ended = endOf(client.socket)
    client.send(large(0x30, 8_000_000))
    const { body } = await client.next(TYPE.DISCONNECT)
    expect([body[0], await ended]).toEqual([0x95, ''])
  }
})

describe('a peer', () => {
  const CHUNK = Buffer.alloc(64 * 1024)

  afterEach(() => {
    vi.useRealTimers()
  })

  test('that sends on is cut off after MAX_DISCARDED_BYTES', async () => {
    const [, far] = LinkEnd.pair()
    new Transport(far).close(true)
    await new Promise(setImmediate)
    let bytes = 0
    while (!far.destroyed && bytes < 2 * MAX_DISCARDED_BYTES) {
      far.push(CHUNK)
      bytes += CHUNK.length
    }
    expect(bytes - MAX_DISCARDED_BYTES).toBe(CHUNK.length)
  })

  test('that does not close its half is cut off after CLOSE_GRACE_MS', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const [, far] = LinkEnd.pair()
    new Transport(far).close(true)
    vi.advanceTimersByTime(CLOSE_GRACE_MS - 1)
    expect(far.destroyed).toBe(false)
    vi.advanceTimersByTime(1)
    expect(far.destroyed).toBe(true)
  })

  test('that closes its half is let go at once, and no timer is left', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const [end, far] = LinkEnd.pair()
    end.resume()
    new Transport(far).close(true)
    await once(far, 'close')
    expect(vi.getTimerCount()).toBe(0)
  })
})
