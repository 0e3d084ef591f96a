/**
 * Fault 6 against a real gateway process, as far as it takes a process to show it: kills in
 * between, secrets and certificates in files, time. What each answer means is shown in test/sink
 * and test/drain.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Random } from '../../../device-sim/random.ts'
import type { ScriptedRequest } from '../../support/scripted-sink.ts'
import type { Deed } from './faulty-sink.ts'
import { pause, SinkBench } from './sink-bench.ts'

/** Of a scenario: what happened, by name. */
export type Happened = Record<string, number>

/** `Retry-After` in one of its forms, and a SIGKILL while it is waited for. */
export async function retryAfter(
  status: 429 | 503,
  form: 'seconds' | 'date',
  seconds: number,
): Promise<Happened> {
  return await SinkBench.run(async (bench) => {
    const { sink } = bench
    let told = 0
    sink.plan = () => {
      told += 1
      const date = new Date(Math.floor(Date.now() / 1_000) * 1_000)
      const until = new Date(date.getTime() + seconds * 1_000).toUTCString()
      const value = form === 'seconds' ? String(seconds) : until
      const headers = { 'Retry-After': value, Date: date.toUTCString() }
      return { step: { status, noDate: true, headers }, quietMs: seconds * 1_000 }
    }
    await bench.publish()
    await bench.requests(1)
    // The note of the wait rides in the next commit.
    await pause(300)
    await bench.killAndRestart()
    await bench.requests(1, seconds * 1_000 + 15_000)
    sink.plan = null
    await bench.until(
      'the sink has the readings',
      () => sink.storedCount > 0,
      seconds * 1_000 + 20_000,
    )
    return { [`${status} with Retry-After (${form})`]: told, kills: bench.kills }
  })
}

/** 401 until the secret file is replaced; then at once. */
export async function credentials(): Promise<Happened> {
  const secretIn = (folder: string): string => join(folder, 'token')
  return await SinkBench.run(
    async (bench) => {
      const { sink, gateway, folder } = bench
      let refused = 0
      const expectRefused = (expected: number): void => {
        if (refused !== expected)
          throw new Error(`I8: ${refused} requests were refused, not ${expected}: it hammers`)
      }
      sink.plan = ({ headers }) => {
        if (headers.authorization === 'Bearer right') return { step: null }
        refused += 1
        return { step: { status: 401 } }
      }
      await gateway.stop()
      writeFileSync(secretIn(folder), 'wrong\n')
      await gateway.start()
      await bench.publish()
      await gateway.event('drain.held')
      await pause(1_500)
      expectRefused(1)
      await bench.killAndRestart()
      await bench.until('a probe behind the restart', () => refused === 2)
      await pause(1_000)
      expectRefused(2)
      const beganMs = performance.now()
      writeFileSync(secretIn(folder), 'right\n')
      await bench.until('the probe behind the new secret', () => sink.storedCount > 0, 10_000)
      const tookMs = performance.now() - beganMs
      if (tookMs > 8_000) throw new Error(`the new secret was used after ${tookMs.toFixed(0)} ms`)
      return { '401 until the secret was replaced': refused, kills: bench.kills }
    },
    {
      config: (folder) => {
        writeFileSync(secretIn(folder), 'wrong\n')
        return { bearerToken: { file: secretIn(folder) } }
      },
    },
  )
}

/**
 * The sink's certificate is replaced by one of another authority, and the gateway's file a while
 * later.
 */
export async function certificate(): Promise<Happened> {
  const first = { cert: pem('tls-sink/server.pem'), key: pem('tls-sink/server.key') }
  const renewed = { cert: pem('tls/renewed-server.pem'), key: pem('tls/renewed-server.key') }
  const authority = (folder: string): string => join(folder, 'ca.pem')
  return await SinkBench.run(
    async (bench) => {
      const { sink, gateway, folder } = bench
      await bench.publish()
      await bench.until('readings by the first certificate', () => sink.storedCount > 0)
      await sink.restart(renewed)
      const before = sink.storedCount
      await gateway.event('drain.retrying')
      await pause(1_000)
      if (sink.storedCount !== before) throw new Error('readings went to a stranger')
      writeFileSync(authority(folder), pem('tls/authority.pem'))
      await bench.until(
        'readings by the renewed certificate',
        () => sink.storedCount > before,
        15_000,
      )
      return { 'certificates renewed': 1 }
    },
    {
      tls: first,
      config: (folder) => {
        writeFileSync(authority(folder), pem('tls-sink/ca.pem'))
        return { tls: { ca: authority(folder), cert: null, key: null } }
      },
    },
  )
}

/**
 * 307 and 301: held, nothing goes elsewhere, and the sink's return is found by an operator's retry.
 */
export async function redirect(): Promise<Happened> {
  return await SinkBench.run(async (bench) => {
    const { sink, gateway } = bench
    let asked = 0
    let elsewhere = 0
    sink.plan = ({ path }) => {
      if (path !== '/ingest') elsewhere += 1
      asked += 1
      return { step: { status: asked % 2 === 0 ? 301 : 307, headers: { Location: '/elsewhere' } } }
    }
    await bench.publish()
    await gateway.event('drain.held')
    await pause(1_000)
    if (asked !== 1 || elsewhere > 0)
      throw new Error(`I8: ${asked} requests, ${elsewhere} of them elsewhere`)
    sink.plan = null
    const retried = await fetch(`${gateway.adminUrl}/api/sinks/cloud/retry`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    })
    if (retried.status !== 202) throw new Error(`retry is answered ${retried.status}`)
    await bench.until('the sink has the readings', () => sink.storedCount > 0, 5_000)
    return { redirects: asked }
  })
}

/** Up for half a second, down for half a second: refused, cut, or 503, in turn. */
export async function flapping(seconds: number): Promise<Happened> {
  return await SinkBench.run(async (bench) => {
    const { sink } = bench
    let down = 0
    let changes = 0
    await bench.publish()
    for (let round = 0; round < seconds; round += 1) {
      const way = round % 3
      let requests = 0
      sink.plan = () => {
        requests += 1
        return {
          step: way === 0 ? { status: 503 } : way === 1 ? { drop: 'before' } : { drop: 'after' },
          stores: way === 2,
        }
      }
      if (way === 1) sink.cutConnections()
      await pause(500)
      // Full jitter from 0.5 s: nobody is asked over and over.
      if (requests > 3) throw new Error(`${requests} requests in half a second of an outage`)
      down += requests
      sink.plan = null
      await pause(500)
      changes += 1
      bench.check()
    }
    return { 'flaps of an outage': changes, 'requests into them': down }
  })
}

/**
 * Answers that come too late, never, in drops, or contradict themselves; kills at any moment; keys
 * and bytes stay.
 */
export async function day(seed: string, steps: number, killEvery: number): Promise<Happened> {
  const random = new Random(seed, 'sink day')
  const happened: Happened = {}
  const use = async (bench: SinkBench): Promise<Happened> => {
    const { sink } = bench
    const day = { left: steps, requests: 0 }
    sink.plan = (request) => {
      day.requests += 1
      // Now and then it behaves, or the backoff would grow to a minute.
      if (day.left === 0 || day.requests % 3 === 0) return { step: null }
      day.left -= 1
      const [name, deed] = MISDEEDS[random.below(MISDEEDS.length)]!
      happened[name] = (happened[name] ?? 0) + 1
      return deed(request)
    }
    await bench.publish()
    while (day.left > 0) {
      const { left } = day
      await bench.until('a misdeed', () => day.left < left, 90_000)
      if (random.below(killEvery) === 0) {
        await pause(random.below(200))
        await bench.killAndRestart()
      }
    }
    happened['kills'] = bench.kills
    happened['batches sent more than once, same bytes'] = sink.repeated.size
    if (sink.repeated.size === 0) throw new Error('no batch came twice: nothing was shown')
    return happened
  }
  return await SinkBench.run(use, { seed })
}

const seqOf = (request: ScriptedRequest, end: 'first' | 'last'): number =>
  Number(request.headers[`sluice-${end}-seq`])

/**
 * All of them end in the same batch being sent again, or in a partial ack; none may hold the sink.
 */
const MISDEEDS: readonly (readonly [string, (request: ScriptedRequest) => Deed])[] = [
  ['503', () => ({ step: { status: 503 } })],
  ['408', () => ({ step: { status: 408 } })],
  ['409', () => ({ step: { status: 409 } })],
  [
    '429 with Retry-After 1',
    () => ({ step: { status: 429, headers: { 'Retry-After': '1' } }, quietMs: 1_000 }),
  ],
  ['cut before storing', () => ({ step: { drop: 'before' } })],
  ['answer lost after storing', () => ({ stores: true, step: { drop: 'after' } })],
  ['half-open', () => ({ stores: true, step: { halfOpen: true } })],
  ['answer after the time-out', () => ({ stores: true, step: { delayMs: 1_300 } })],
  [
    'slow trickle',
    () => ({
      stores: true,
      step: { body: 'ok ok ok ', trickle: { bytes: 1, everyMs: 50, endless: true } },
    }),
  ],
  [
    'ack cut in its body',
    () => ({ stores: true, step: { body: { ackedThrough: 1 }, cutBodyAt: 5 } }),
  ],
  ['no HTTP', () => ({ step: { rawBytes: 'SSH-2.0-OpenSSH_9.2\r\n' } })],
  [
    'ackedThrough is a string',
    (request) => ({ step: { body: { ackedThrough: String(seqOf(request, 'last')) } } }),
  ],
  [
    'a seq rejected and acked',
    (request) => ({
      step: {
        body: {
          rejected: [
            { seq: seqOf(request, 'first'), status: 422 },
            { seq: seqOf(request, 'first'), status: 200 },
          ],
        },
      },
    }),
  ],
  [
    'a seq rejected that was not sent',
    (request) => ({ step: { body: { rejected: [{ seq: seqOf(request, 'last') + 1_000 }] } } }),
  ],
  ['207 without a word', () => ({ step: { status: 207, body: '' } })],
  [
    'acked nothing',
    (request) => ({ step: { body: { ackedThrough: seqOf(request, 'first') - 1 } } }),
  ],
  [
    'all acked, first one later',
    (request) => ({
      step: {
        body: {
          ackedThrough: seqOf(request, 'last'),
          rejected: [{ seq: seqOf(request, 'first'), status: 503 }],
        },
      },
    }),
  ],
]

/** Of test/support, also for callers that are built. */
function pem(name: string): Buffer {
  const root = import.meta.url.endsWith('.ts') ? '../../support/' : '../../../../test/support/'
  return readFileSync(fileURLToPath(new URL(`${root}${name}`, import.meta.url)))
}
