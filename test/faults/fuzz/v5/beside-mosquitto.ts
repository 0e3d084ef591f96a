/** The same sessions sent to the gateway and to a Mosquitto: where one ends what the other takes. */
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { Random } from '../../../../device-sim/random.ts'
import { packet } from '../../../support/raw-mqtt.ts'
import { LIMITS } from '../fuzzed-gate.ts'
import { type Plan, planOf } from './fuzzer.ts'

type Verdict = 'lives' | 'ends'

interface Difference {
  readonly plan: Plan
  readonly gateway: Verdict
  readonly mosquitto: Verdict
}

const LAST_ID = 65_535
/** Header, packet id, no properties, one code. */
const SUBACK_BYTES = 2 + 2 + 1 + 1
const SUBSCRIBE = packet.subscribe(LAST_ID, [['none', 0]], {})
/** No server of the two takes longer, on a machine as busy as may be. */
const WAIT_MS = 20_000
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
  const sent = completed(Buffer.concat([...bytes, SUBSCRIBE]))
  let received = Buffer.alloc(0)
  try {
    return await new Promise<Verdict>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`port ${port} neither answers nor ends: ${sent.toString('hex')}`))
      }, WAIT_MS)
      const end = (verdict: Verdict): void => {
        clearTimeout(timer)
        resolve(verdict)
      }
      socket.on('close', () => end('ends'))
      socket.on('data', (chunk: Buffer) => {
        received = Buffer.concat([received, chunk])
        if (hasLastAnswer(received)) end('lives')
      })
      socket.write(sent)
    })
  } finally {
    socket.destroy()
  }
}

/**
 * A packet that is cut off, or lies about its length, takes the SUBSCRIBE as its own: it gets what
 * it lacks then, and another SUBSCRIBE behind it. Without that a server would wait for the rest.
 */
function completed(bytes: Buffer): Buffer {
  let whole = bytes
  for (let at = 0; at < whole.length; ) {
    const end = endOf(whole, at)
    // Both end it as soon as they know.
    if (end === 'too long') return whole
    if (end === null) whole = Buffer.concat([whole, Buffer.alloc(1)])
    else if (end > whole.length)
      return Buffer.concat([whole, Buffer.alloc(end - whole.length), SUBSCRIBE])
    else at = end
  }
  return whole.length === bytes.length ? whole : Buffer.concat([whole, SUBSCRIBE])
}

/** Of the packet at `at`; null: its length is not complete. */
function endOf(bytes: Buffer, at: number): number | 'too long' | null {
  let length = 0
  for (let next = at + 1; next < at + 5; next += 1) {
    if (next >= bytes.length) return null
    const byte = bytes[next]!
    length += (byte & 127) * 128 ** (next - at - 1)
    if (byte >= 128) continue
    const end = next + 1 + length
    return end - at > LIMITS.maxPacketBytes ? 'too long' : end
  }
  return 'too long'
}

function hasLastAnswer(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.length; ) {
    const end = endOf(bytes, at)
    if (typeof end !== 'number' || end > bytes.length) return false
    const body = bytes.subarray(end - (SUBACK_BYTES - 2), end)
    if (bytes[at] === 0x90 && end - at === SUBACK_BYTES && body.readUInt16BE(0) === LAST_ID)
      return true
    at = end
  }
  return false
}
