/**
 * A guard of the hot path that noise cannot fool: what the functions that run for every reading
 * allocate for it, from the socket's bytes to the block. A closure, a promise or a string of the
 * payload for each reading shows here at once.
 */
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { Broker } from '../../gateway/broker/broker.ts'
import { Device } from '../bench/device.ts'
import { deviceFrames } from '../bench/readings.ts'
import { DEFAULTS } from '../broker/harness.ts'
import { allocationsOf } from '../support/allocations.ts'
import { encodeFrame, packet } from '../support/raw-mqtt.ts'
import { openSpool, temporaryFolder } from '../support/spool-fixture.ts'

/** What runs for each reading, and for nothing else of note. */
const PER_READING = [
  'gateway/broker/publish/publish-path.ts',
  'gateway/broker/publish/publish-reader.ts',
  'gateway/broker/gate/connection.ts',
  'gateway/broker/mqtt/',
  'gateway/broker/publish/router.ts',
  'gateway/spool/appender.ts',
  'gateway/spool/stream/intake.ts',
  'gateway/spool/codec/record.ts',
  'gateway/spool/codec/bytes.ts',
  'gateway/spool/codec/json-scan.ts',
  'gateway/spool/codec/timestamp.ts',
]
/**
 * The view of the payload that is copied (96) and the time of arrival (16). How far V8 has compiled
 * the path adds up to 40, so one more small object does not show, but what is worth avoiding does.
 */
const MAX_BYTES_PER_READING = 170
const READINGS = 40_000
/** Until the code is compiled for good it allocates more: iterators, numbers. */
const WARM_UP_READINGS = 120_000
const IN_FLIGHT = 800

/** Publishes at QoS 1 and resolves when everything is acknowledged. */
async function publish(port: number, readings: number): Promise<void> {
  let unsent = readings
  let unacked = readings
  let finish = (): void => undefined
  const finished = new Promise<void>((resolve) => {
    finish = resolve
  })
  const device = new Device({ port, qos: 1, window: IN_FLIGHT, seed: 1, frames: 1000 }, 1, () => {
    unacked -= 1
    if (unacked === 0) finish()
  })
  device.onFree = () => {
    unsent -= device.send(unsent)
  }
  await finished
  device.end()
}

/** The same of MQTT 5, without properties, as nearly all devices send. */
async function publish5(port: number, readings: number): Promise<void> {
  const { clientId, frames, idAt } = deviceFrames(1, { qos: 1, seed: 1, frames: 1000 })
  const packets = frames.map((frame, n) => withoutProperties(frame, idAt[n] ?? 0))
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  socket.write(packet.connect({ level: 5, clientId }))
  let [connack] = (await once(socket, 'data')) as [Buffer]
  expect([...connack.subarray(2, 4)], 'let in').toEqual([0, 0])
  connack = connack.subarray(2 + (connack[1] ?? 0))
  let sent = 0
  let ackBytes = connack.length
  const send = (count: number): void => {
    const parts: Buffer[] = []
    for (const end = Math.min(sent + count, readings); sent < end; sent += 1) {
      const { bytes, at } = packets[sent % packets.length]!
      const copy = Buffer.from(bytes)
      copy.writeUInt16BE((sent % 65_535) + 1, at)
      parts.push(copy)
    }
    if (parts.length > 0) socket.write(Buffer.concat(parts))
  }
  send(IN_FLIGHT)
  while (ackBytes < readings * ACK_BYTES) {
    const before = Math.floor(ackBytes / ACK_BYTES)
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    ackBytes += chunk.length
    send(Math.floor(ackBytes / ACK_BYTES) - before)
  }
  socket.destroy()
}

const ACK_BYTES = 4

/** A PUBLISH of 3.1.1 as one of 5, and where its packet id is. */
function withoutProperties(frame: Buffer, idAt: number): { bytes: Buffer; at: number } {
  const header = frame[1]! < 0x80 ? 2 : 3
  const body = frame.subarray(header)
  const at = idAt - header + 2
  const bytes = encodeFrame(frame[0]!, body.subarray(0, at), Buffer.of(0), body.subarray(at))
  return { bytes, at: bytes.length - body.length - 1 + at - 2 }
}

it.each([
  ['', publish],
  [' of MQTT 5', publish5],
] as const)(
  'a reading%s allocates next to nothing',
  async (_version, publishAll) => {
    const folder = await temporaryFolder()
    const { spool } = await openSpool(folder.path)
    const broker = await Broker.start({
      config: DEFAULTS,
      appender: spool.appender,
      emit: () => undefined,
    })
    try {
      const port = broker.addresses[0]?.port ?? 0
      await publishAll(port, WARM_UP_READINGS)
      const { bytes, top } = await allocationsOf(PER_READING, () => publishAll(port, READINGS))
      const perReading = bytes / READINGS
      console.log(`${perReading.toFixed(1)} bytes allocated for a reading`)
      expect(perReading, top.join('\n')).toBeLessThan(MAX_BYTES_PER_READING)
      expect(perReading, 'the guard sees the path').toBeGreaterThan(10)
    } finally {
      await broker.stop(1_000)
      await spool.stop()
      await folder.remove()
    }
  },
  120_000,
)

it('the guard sees what a function allocates, dead or alive', async () => {
  const CALLS = 200_000
  let kept: { n: number } | null = null
  const { bytes, top } = await allocationsOf(['test/costs/'], async () => {
    for (let n = 0; n < CALLS; n++) kept = { n }
  })
  expect(kept).toEqual({ n: CALLS - 1 })
  // An object with one member in line.
  expect(bytes / CALLS, top.join('\n')).toBeGreaterThan(12)
  expect(bytes / CALLS, top.join('\n')).toBeLessThan(64)
})
