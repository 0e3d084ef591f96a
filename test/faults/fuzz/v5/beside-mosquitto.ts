/** The same sessions sent to the gateway and to a Mosquitto: where one ends what the other takes. */
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { Random } from '../../../../device-sim/random.ts'
import { packet } from '../../../support/raw-mqtt.ts'
import { type Plan, planOf } from './fuzzer.ts'

type Verdict = 'lives' | 'ends' | 'waits'

interface Difference {
  readonly plan: Plan
  readonly gateway: Verdict
  readonly mosquitto: Verdict
}

const LAST_ID = 65_535
/** A packet that is not complete is waited for. */
const WAIT_MS = 250
const AT_A_TIME = 32

/** All that differ among so many sessions. */
export async function compareVerdicts(
  seed: string,
  sessions: number,
  ports: { readonly gateway: number; readonly mosquitto: number },
): Promise<Difference[]> {
  const random = new Random(seed, 'beside Mosquitto')
  const differences: Difference[] = []
  for (let left = sessions; left > 0; left -= AT_A_TIME) {
    const plans = Array.from({ length: Math.min(left, AT_A_TIME) }, () => planOf(random))
    const verdicts = await Promise.all(
      plans.map(async (plan) => {
        const { gateway, mosquitto } = ports
        const pair = await Promise.all([verdictOf(gateway, plan), verdictOf(mosquitto, plan)])
        return { plan, gateway: pair[0], mosquitto: pair[1] }
      }),
    )
    differences.push(...verdicts.filter(({ gateway, mosquitto }) => gateway !== mosquitto))
  }
  return differences
}

/** Whether a SUBSCRIBE behind the session is answered. */
async function verdictOf(port: number, { bytes }: Plan): Promise<Verdict> {
  const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  let received = Buffer.alloc(0)
  try {
    return await new Promise<Verdict>((resolve) => {
      const timer = setTimeout(() => resolve('waits'), WAIT_MS)
      const end = (verdict: Verdict): void => {
        clearTimeout(timer)
        resolve(verdict)
      }
      socket.on('close', () => end('ends'))
      socket.on('data', (chunk: Buffer) => {
        received = Buffer.concat([received, chunk])
        if (hasLastAnswer(received)) end('lives')
      })
      socket.write(Buffer.concat([...bytes, packet.subscribe(LAST_ID, [['none', 0]], {})]))
    })
  } finally {
    socket.destroy()
  }
}

function hasLastAnswer(bytes: Buffer): boolean {
  for (let at = 0; at + 2 <= bytes.length; ) {
    let length = 0
    let next = at + 1
    for (let scale = 1; next < bytes.length; scale *= 128) {
      const byte = bytes[next]!
      next += 1
      length += (byte & 127) * scale
      if (byte < 128) break
    }
    if (next + length > bytes.length) return false
    if (bytes[at] === 0x90 && bytes.readUInt16BE(next) === LAST_ID) return true
    at = next + length
  }
  return false
}
