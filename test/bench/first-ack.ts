/**
 * From the start of a gateway to its first PUBACK, as a device sees it that tries to connect all
 * the time.
 */
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectFrame, deviceFrames } from './readings.ts'
import { type SluiceOptions, type System, startSluice } from './systems.ts'

const TRY_EVERY_MS = 5
const TIMEOUT_MS = 60_000
/** CONNACK and PUBACK, four bytes each. */
const ANSWER_BYTES = 8
const DEVICE = 99_999

function tryOnce(port: number, frames: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let received = 0
    socket.on('connect', () => socket.write(frames))
    socket.on('data', (chunk) => {
      received += chunk.length
      if (received >= ANSWER_BYTES) {
        resolve(true)
        socket.destroy()
      }
    })
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(false))
  })
}

async function firstAck(port: number, beganMs: number): Promise<number> {
  const { clientId, frames, idAt } = deviceFrames(DEVICE, { seed: 1, qos: 1, frames: 1 })
  const publish = frames[0] as Buffer
  publish.writeUInt16BE(1, idAt[0])
  const bytes = Buffer.concat([connectFrame(clientId, true), publish])
  while (!(await tryOnce(port, bytes))) {
    if (performance.now() - beganMs > TIMEOUT_MS) throw new Error('no PUBACK after the start')
    await sleep(TRY_EVERY_MS)
  }
  return performance.now() - beganMs
}

export async function startToFirstAck(
  options: SluiceOptions,
): Promise<{ system: System; ms: number }> {
  let ms = Number.NaN
  const onLaunch = async (port: number): Promise<void> => {
    ms = await firstAck(port, performance.now())
  }
  const system = await startSluice({ ...options, onLaunch })
  return { system, ms }
}
