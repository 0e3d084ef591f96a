/**
 * Hostile sessions over TCP against a real gateway process with its spool: it must live, serve a
 * well-behaved device all the while, end or serve each connection, and not grow. What it makes of
 * each byte is shown in-process (fuzzer.ts).
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Random } from '../../../device-sim/random.ts'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import { OneNumberSink } from '../../support/one-number-sink.ts'
import { Qos1Device } from '../../support/qos1-device.ts'
import { MUTATIONS, mutate, SPLITS, segments } from './mutations.ts'
import { makeClientId, makeSession, pick } from './sessions.ts'

const AT_A_TIME = 32
const CONNECTIONS_PER_RUN = 40
/**
 * Of RssAnon, in the last third: it levels off by some 15,000 connections (220 MB there, 234 MB
 * after 40,000).
 */
const MAX_GROWTH_BYTES = 32 * 1024 * 1024

export async function fuzzProcess(
  runs: number,
  seed: number,
  say: (line: string) => void,
  failures: string[],
): Promise<Record<string, number>> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-fuzz-'))
  const sink = await OneNumberSink.start()
  // Hostile payloads are no readings with numbers: only the device's stream goes to the sink that
  // counts them.
  const streams = {
    own: { topics: ['plant/#'], sink: 'cloud' },
    hostile: {
      topics: ['t/#', 'a/#', 'both/#'],
      sink: 'nowhere',
      whenFull: 'drop-oldest',
      maxBytes: '1MiB',
    },
  }
  const gateway = await GatewayProcess.prepare({
    folder,
    sinkUrl: sink.url,
    sections: {
      streams,
      sinks: { nowhere: { type: 'http', url: 'http://127.0.0.1:9/ingest' } },
      mqtt: { maxSubscriberMessages: 100 },
    },
  })
  const device = new Qos1Device('well-behaved', {
    window: 10,
    textBytes: 60,
    level: levelsInTurn(seed)(),
  })
  const random = new Random(seed, 'process-fuzz')
  const connections = runs * CONNECTIONS_PER_RUN
  // The most of each third: a single moment says how long ago the last collection was. In the first
  // the heap grows to its size.
  const peakBytes = [0, 0, 0]
  let done = 0
  try {
    await gateway.start()
    await device.connect(gateway.mqttPort)
    device.begin()
    while (done < connections) {
      const some = Math.min(AT_A_TIME, connections - done)
      await Promise.all(Array.from({ length: some }, () => hostile(gateway.mqttPort, random)))
      done += some
      device.check()
      if (!gateway.isRunning) throw new Error('the gateway died')
      const third = Math.ceil((done / connections) * 3) - 1
      peakBytes[third] = Math.max(peakBytes[third] ?? 0, rssAnonBytes(gateway.process.pid))
    }
    device.pause()
    await gateway.untilStatus(
      'only the device is connected',
      ({ broker }) => broker?.connections === 1,
    )
    await until(() => device.unacked === 0, 'the last acks of the well-behaved device')
    await sink.until(device.acked.length)
    const stored = sink.of(device.clientId)
    if (stored.join() !== device.acked.join())
      throw new Error('the sink has other readings than were acknowledged')
    assertBalanced(await gateway.status())
    const faults = gateway.countOf('broker.internal-error')
    if (faults > 0)
      failures.push(
        `${faults} internal errors: ${JSON.stringify(gateway.events.find(({ event }) => event === 'broker.internal-error'))}`,
      )
    const [first = 0, second = 0, last = 0] = peakBytes
    say(
      `fuzz: gateway process RssAnon at most ${mib(first)}, ${mib(second)} and ${mib(last)} in the thirds of ${done} hostile connections`,
    )
    if (runs >= 50 && last - second > MAX_GROWTH_BYTES)
      failures.push(`the gateway grew by ${mib(last - second)}`)
    const exit = await gateway.stop()
    if (exit.code !== 0) failures.push(`the gateway ended with code ${exit.code}`)
  } catch (error) {
    failures.push(`process, seed ${seed}: ${String(error)}\n${gateway.logTail(10)}`)
  } finally {
    await device.close()
    if (gateway.isRunning) await gateway.process.reap()
    await sink.close()
    rmSync(folder, { recursive: true, force: true })
  }
  return {
    'hostile connections to a real process': done,
    'readings acknowledged beside them': device.acked.length,
  }
}

/** Writes a session, gives the gateway a moment, and goes. */
async function hostile(port: number, random: Random): Promise<void> {
  const clean = random.chance(0.7)
  const clientId = random.chance(0.3) ? `race-${random.below(3)}` : makeClientId(random)
  const session = makeSession(random, {
    clientId: clean ? clientId : `race-${random.below(3)}`,
    clean,
    maxFrames: 40,
  })
  const parts = segments(
    random,
    mutate(random, session, pick(random, MUTATIONS)),
    pick(random, SPLITS),
  )
  const [ends, waitMs] = [random.below(3), random.below(15)]
  await new Promise<void>((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
    socket.on('error', () => {})
    socket.once('close', () => resolve())
    if (ends !== 0) socket.resume()
    socket.once('connect', () => {
      for (const part of parts) socket.write(part)
      setTimeout(() => {
        if (ends === 1) {
          socket.end()
          setTimeout(() => socket.destroy(), 20)
        } else socket.resetAndDestroy()
      }, waitMs)
    })
  })
}

/** RssAnon of a process, bytes; 0 where the system does not tell. */
function rssAnonBytes(pid: number | undefined): number {
  try {
    const found = /RssAnon:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return Number(found?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

function mib(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = performance.now() + 15_000
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`did not come: ${what}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}
