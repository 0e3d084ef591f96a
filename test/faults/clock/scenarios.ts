/**
 * Fault 9: what a wrong wall clock must not change, scenario by scenario, each with restarts in
 * between.
 */
import { readFileSync } from 'node:fs'
import { uptime } from 'node:os'
import { Random } from '../../../device-sim/random.ts'
import { levelsInTurn } from '../../support/levels.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { lastingSession, packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { sourcePath } from '../../support/source-path.ts'
import { pause } from '../sink/sink-bench.ts'
import { ClockBench, HOUR_MS, type StoredRecord, YEAR_MS } from './clock-bench.ts'
import { rebooted } from './shifted-clock.ts'

/** Of a scenario: what happened, by name. */
export type Happened = Record<string, number>

/** Enough for some jumps among them. */
const DRIFT_STEPS = 40

/** As a box without a battery wakes up. */
const WAKES_AT_MS = 60_000

/** It starts in 1970 and is set right while a backlog lies pending. */
export async function startIn1970(): Promise<Happened> {
  return await ClockBench.run(
    async (bench) => {
      const { clock, gateway } = bench
      const bootedMs = uptime() * 1000
      bench.sinkDown()
      await bench.publish(10)
      await bench.publishBad()
      await bench.restart()
      await bench.publish(10)
      if ((await gateway.status()).clockSet) throw new Error('the clock is said to be set')
      const before = await bench.pendingLines()
      const jumpedMs = uptime() * 1000
      clock.shift(0)
      await bench.publish(10)
      await bench.retentionRound()
      await bench.expectNothingExpired(1)
      await bench.restart()
      await bench.retentionRound()
      await bench.expectNothingExpired(1)
      if (!(await gateway.status()).clockSet) throw new Error('the clock is said to be unset')
      await bench.untilSkew(0)
      await bench.sinkUp()
      await gateway.untilStatus('all is delivered', () => bench.sink.storedCount === 30, 60_000)
      const after = bench.sink.lines.slice(0, 20)
      if (before.length !== 20 || before.some((line, i) => line !== after[i])) {
        throw new Error('records from before the jump were rewritten')
      }
      expectMarked(bench.stored.slice(0, 20), bootedMs, jumpedMs)
      expectUnmarked(bench.stored.slice(20))
      return {
        'records before the clock was set': 20,
        'jumps out of 1970': 1,
        starts: bench.starts,
      }
    },
    { offsetMs: WAKES_AT_MS - Date.now() },
  )
}

function expectMarked(records: readonly StoredRecord[], fromMs: number, toMs: number): void {
  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'ascii').trim()
  let lastMs = fromMs - 1
  for (const record of records) {
    const { receivedAt, clock, uptimeMs = Number.NaN } = record
    const isMarked =
      clock === 'unset' && record.bootId === bootId && receivedAt.startsWith('1970-01-01T00:0')
    if (!isMarked) throw new Error(`not marked: ${JSON.stringify(record)}`)
    // /proc/uptime has hundredths.
    if (!(uptimeMs >= lastMs - 10 && uptimeMs <= toMs + 10)) throw new Error(`uptimeMs ${uptimeMs}`)
    lastMs = uptimeMs
  }
}

function expectUnmarked(records: readonly StoredRecord[]): void {
  for (const record of records) {
    const agoMs = Date.now() - Date.parse(record.receivedAt)
    const isRight =
      record.clock === undefined && record.bootId === undefined && record.uptimeMs === undefined
    if (!isRight || agoMs < 0 || agoMs > 120_000)
      throw new Error(`marked: ${JSON.stringify(record)}`)
  }
}

/**
 * A jump of fifty years and one to an hour before the truth, over a backlog that may live for an
 * hour.
 */
export async function fiftyYears(): Promise<Happened> {
  return await ClockBench.run(async (bench) => {
    const { clock } = bench
    bench.sinkDown()
    await bench.publish(10)
    await bench.publishBad()
    const offsetsMs = [50 * YEAR_MS, -HOUR_MS, 50 * YEAR_MS]
    for (const [i, offsetMs] of offsetsMs.entries()) {
      clock.shift(offsetMs)
      await bench.publish(10)
      await bench.untilSkew(-offsetMs / 1000)
      if (i > 0) await bench.restart()
      await bench.retentionRound()
      await bench.expectNothingExpired(1)
    }
    await bench.sinkUp()
    await bench.gateway.untilStatus('all is delivered', () => bench.sink.storedCount === 40, 60_000)
    for (const [i, offsetMs] of [0, ...offsetsMs].entries()) {
      const receivedAtMs = Date.parse(bench.stored[i * 10]?.receivedAt ?? '')
      if (Math.abs(Date.now() + offsetMs - receivedAtMs) > 120_000)
        throw new Error('the clock did not jump')
    }
    return { 'jumps of 50 years': 2, 'jumps back': 1, starts: bench.starts }
  })
}

/** The clock jumps while a Retry-After is waited for; what becomes of the process then. */
export async function retryAfter(
  form: 'seconds' | 'date',
  jumpMs: number,
  then: 'goes on' | 'is killed' | 'reboots',
): Promise<Happened> {
  const seconds = 3
  return await ClockBench.run(async (bench) => {
    const { clock, sink, gateway } = bench
    let told = 0
    // The gateway's `Date` is the sink's: the truth.
    sink.plan = () => {
      told += 1
      const date = new Date(Math.floor(Date.now() / 1_000) * 1_000)
      const until = new Date(date.getTime() + seconds * 1_000).toUTCString()
      const value = form === 'seconds' ? String(seconds) : until
      const headers = { 'Retry-After': value, Date: date.toUTCString() }
      return { step: { status: 503, noDate: true, headers }, quietMs: seconds * 1_000 }
    }
    await bench.publish(1)
    await gateway.event('drain.retrying')
    clock.shift(jumpMs)
    // Acknowledged: the commit that carries the note of the wait is durable.
    await bench.publish(1)
    if (then !== 'goes on') await bench.kill()
    // After a reboot the wait begins anew.
    if (then === 'reboots') sink.expectQuiet(seconds * 1_000)
    if (then !== 'goes on') await bench.launch(then === 'reboots' ? rebooted('boot-2', 5_000) : {})
    sink.plan = null
    // By the wall clock it would wait for an hour.
    await gateway.untilStatus('the sink is asked again', () => sink.storedCount > 0, 30_000)
    return { [`Retry-After (${form}) over a jump, the gateway ${then}`]: told }
  })
}

/**
 * Fast, slow, and to and fro, under a flow of readings, an idle device with a keepalive, and a
 * session that waits.
 */
export async function drift(seed: string): Promise<Happened> {
  const random = new Random(seed, 'clock drift')
  return await ClockBench.run(
    async (bench) => {
      const { clock, gateway } = bench
      const nextLevel = levelsInTurn(seed)
      const waits = (level: Level): ReturnType<typeof RawMqtt.connect> =>
        RawMqtt.connect(gateway.mqttPort, { clientId: 'waits', ...lastingSession(level, 3_600) })
      const session = await waits(nextLevel())
      session.send(packet.subscribe(1, [['alarm/#', 1]], session.level === 5 ? {} : undefined))
      await session.next(TYPE.SUBACK)
      await session.end()
      const level = nextLevel()
      const idle = await RawMqtt.connect(gateway.mqttPort, {
        clientId: 'idle',
        keepAlive: 10,
        level,
      })
      let steps = 0
      let jumps = 0
      while (steps < DRIFT_STEPS) {
        const rate = 0.7 + 0.6 * random.next()
        const stepMs = 10 + random.below(100)
        if (steps % 8 === 4) {
          jumps += 1
          clock.shift((random.next() * 100 - 50) * YEAR_MS)
        } else clock.shift(clock.offsetMs + (rate - 1) * stepMs)
        steps += 1
        await bench.publish(1 + random.below(5))
        if (steps % 4 === 0) await idle.roundTrip()
        await pause(Math.min(stepMs, 50))
      }
      if (idle.isClosed) throw new Error('the idle device was cut off')
      // Longer than a session may be without a connection, by the wall clock.
      clock.shift(60 * YEAR_MS)
      await bench.retentionRound()
      const back = await waits(nextLevel())
      if (!back.sessionPresent) throw new Error('the session that waited is gone')
      back.cut()
      idle.cut()
      return { 'steps of a drift': steps, 'jumps meanwhile': jumps }
    },
    { seed, mqtt: { sessionExpiry: '1h' } },
  )
}

/**
 * A certificate that is not valid yet, and one that is no more, by the clock: the data waits until
 * it is set.
 */
export async function certificates(): Promise<Happened> {
  const tls = { cert: pem('server.pem'), key: pem('server.key') }
  const ca = sourcePath('test/support/tls-sink/ca.pem')
  return await ClockBench.run(
    async (bench) => {
      const { clock, gateway, sink } = bench
      for (const [offsetMs, code] of [
        [WAKES_AT_MS - Date.now(), 'CERT_NOT_YET_VALID'],
        [100 * YEAR_MS, 'CERT_HAS_EXPIRED'],
      ] as const) {
        const before = sink.storedCount
        clock.shift(offsetMs)
        // Or the connection of before would do.
        sink.cutConnections()
        await bench.publish(5)
        await gateway.untilStatus(
          code,
          ({ sinks }) => sinks[0]?.why?.includes(code) ?? false,
          60_000,
        )
        if (sink.storedCount !== before)
          throw new Error('a connection was trusted that must not be')
        clock.shift(0)
        const isAll = (): boolean => sink.storedCount === before + 5
        await gateway.untilStatus('delivery resumes by itself', isAll, 30_000)
      }
      return { 'certificates out of their time': 2 }
    },
    { tls, offsetMs: WAKES_AT_MS - Date.now(), config: { tls: { ca, cert: null, key: null } } },
  )
}

/**
 * Ages do count: while the clock falls back, while the process is away, and from where they stood
 * after a reboot.
 */
export async function agesCount(): Promise<Happened> {
  const maxAgeMs = 2_000
  return await ClockBench.run(
    async (bench) => {
      const { clock, gateway } = bench
      bench.sinkDown()
      // The batch in flight does not expire.
      await bench.publish(1)
      await gateway.event('drain.retrying')
      const untilExpired = async (more: number): Promise<void> => {
        bench.expected.expired += more
        const { expired } = bench.expected
        const isDone = (count: number | undefined): boolean => count === expired
        await gateway.untilStatus(`${expired} records have expired`, ({ streams }) =>
          isDone(streams.find(({ name }) => name === 'telemetry')?.counters.dropped['expired']),
        )
      }
      await bench.publish(5)
      clock.shift(-HOUR_MS)
      await untilExpired(5)

      await bench.publish(5)
      await bench.kill()
      await pause(maxAgeMs + 100)
      await bench.launch()
      await untilExpired(5)

      for (const [boot, uptimeMs] of [
        ['boot-2', 1_000],
        ['boot-3', 100 * 86_400_000],
      ] as const) {
        const publishedMs = performance.now()
        await bench.publish(5)
        await bench.kill()
        const livedMs = performance.now() - publishedMs
        await pause(maxAgeMs + 100)
        const bootedMs = performance.now()
        await bench.launch(rebooted(boot, uptimeMs))
        await untilExpired(5)
        const laterMs = performance.now() - bootedMs
        if (livedMs + laterMs < maxAgeMs) {
          throw new Error(`I8: expired after ${livedMs} ms and, behind a reboot, ${laterMs} ms`)
        }
      }
      return {
        'records that expired in time': bench.expected.expired,
        reboots: 2,
        starts: bench.starts,
      }
    },
    { maxAge: `${maxAgeMs / 1000}s` },
  )
}

/** Anything at any time, for a backlog that may live for an hour. */
export async function anything(seed: string, steps: number): Promise<Happened> {
  const random = new Random(seed, 'clock')
  const happened: Happened = {}
  const count = (what: string): void => void (happened[what] = (happened[what] ?? 0) + 1)
  const use = async (bench: ClockBench): Promise<Happened> => {
    const { clock, gateway } = bench
    const deeds: readonly (readonly [string, () => Promise<void> | void])[] = [
      ['readings', () => bench.publish(1 + random.below(20))],
      ['jumps by years', () => clock.shift((random.next() * 110 - 55) * YEAR_MS)],
      ['jumps by hours', () => clock.shift(clock.offsetMs + (random.next() * 10 - 5) * HOUR_MS)],
      ['jumps into 1970', () => clock.jumpTo(random.below(600_000))],
      ['the clock is right', () => clock.shift(0)],
      ['kills', () => bench.restart()],
      [
        'reboots',
        () => bench.restart(rebooted(`boot-${random.uint32()}`, random.below(10 * 86_400_000))),
      ],
      ['outages', () => bench.sinkDown()],
      ['ends of an outage', () => bench.sinkUp()],
      ['rounds of retention', () => bench.retentionRound()],
    ]
    clock.shift(random.chance(0.5) ? WAKES_AT_MS - Date.now() : 50 * YEAR_MS)
    await bench.publishBad()
    for (let i = 0; i < steps; i += 1) {
      const [what, deed] = deeds[random.below(deeds.length)]!
      count(what)
      await deed()
      await bench.publish(1)
    }
    await bench.retentionRound()
    await bench.expectNothingExpired(1)
    if (!gateway.isRunning) throw new Error(gateway.logTail())
    return happened
  }
  return await ClockBench.run(use, { seed })
}

function pem(name: string): Buffer {
  return readFileSync(sourcePath(`test/support/tls-sink/${name}`))
}
