/**
 * The demo: a gateway in a process of its own, the reference cloud and a fleet on loopback; the
 * fleet drops connections, the cloud goes down, says 503, loses answers, the gateway is killed.
 * Ends with an audit and PASS or FAIL. Every step has a deadline; a deadline passed is a failed
 * check, never a hang.
 */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cloud } from '../cloud/cloud.ts'
import type { ProtocolMix } from '../fleet/dialect.ts'
import { Fleet } from '../fleet/fleet.ts'
import { FLEET_DEFAULTS } from '../fleet/options.ts'
import { freePort } from '../free-ports.ts'
import { Ledger } from '../ledger/ledger.ts'
import type { Verdict } from '../ledger/verify.ts'
import { verifyStore } from '../ledger/verify-store.ts'
import { count } from '../table.ts'
import { ACK_SECONDS, type Check, DRAIN_SECONDS, judge } from './balance.ts'
import { GatewayProcess } from './gateway-process.ts'
import { Narration } from './narration.ts'
import { demoPlan, faultsStillDue, type Plan } from './plan.ts'
import { type Account, fetchAccount } from './status.ts'

interface DemoOptions {
  readonly devices: number
  /** How long the fleet measures. */
  readonly seconds: number
  readonly seed: string
  readonly protocol: ProtocolMix
  /** Spool, store, ledger, configuration and log go here. */
  readonly folder: string
  /** Another gateway than the one built beside this file. */
  readonly program?: string
}

export interface DemoResult {
  readonly passed: boolean
  readonly checks: readonly Check[]
  readonly verdict: Verdict
  readonly account: Account | null
  /** Repeats that the cloud removed by seq. */
  readonly repeatsRemoved: number
}

/** What a live display shows. */
export interface DemoState {
  readonly seconds: number
  readonly connected: number
  readonly published: number
  readonly acked: number
  /** null: the gateway does not answer just now. */
  readonly account: Account | null
  readonly drops: number
}

const READINGS_PER_DEVICE_AND_SECOND = 2
const START_TIMEOUT_MS = 20_000
const WATCH_MS = 250
const POLL_MS = 100

export class Demo {
  readonly gateway: GatewayProcess
  readonly cloud: Cloud
  readonly fleet: Fleet
  readonly plan: Plan
  readonly #options: DemoOptions
  readonly #ledger: Ledger
  readonly #write: (text: string) => void
  readonly #narration = new Narration()
  #startMs = performance.now()
  #account: Account | null = null
  #lastPending = 0
  #watching = true
  #closed = false

  private constructor(
    options: DemoOptions,
    plan: Plan,
    gateway: GatewayProcess,
    cloud: Cloud,
    note: (text: string) => void,
  ) {
    this.#options = options
    this.plan = plan
    this.gateway = gateway
    this.cloud = cloud
    this.#write = note
    this.#ledger = new Ledger(join(options.folder, 'ledger.ndjson'), options.seed, new Date())
    this.fleet = new Fleet(
      {
        ...FLEET_DEFAULTS,
        url: gateway.mqttUrl,
        protocol: options.protocol,
        devices: options.devices,
        ratePerSecond: options.devices * READINGS_PER_DEVICE_AND_SECOND,
        qosShares: [0, 1, 1],
        realTime: true,
        rampMs: Math.min(3000, options.seconds * 100),
        reconnect: { minMs: 250, maxMs: 3000 },
        faults: plan.fleetFaults,
        seed: options.seed,
      },
      this.#ledger,
    )
  }

  /** Starts cloud and gateway. @throws with the gateway's log when it does not become ready */
  static async start(options: DemoOptions, note: (text: string) => void): Promise<Demo> {
    const plan = demoPlan(options.seed, options.devices, options.seconds * 1000)
    // It goes down and comes back: on the same port.
    const port = await freePort()
    const cloud = await Cloud.start({ dir: join(options.folder, 'cloud'), port, adminPort: 0 })
    const gateway = await GatewayProcess.prepare({
      folder: options.folder,
      sinkUrl: cloud.url,
      ...(options.program === undefined ? {} : { program: options.program }),
    })
    const demo = new Demo(options, plan, gateway, cloud, note)
    gateway.start()
    if (!(await gateway.ready(START_TIMEOUT_MS))) {
      const why = gateway.unexpectedExits[0] ?? `not ready within ${START_TIMEOUT_MS / 1000} s`
      await demo.close()
      throw new Error(`the gateway did not start: ${why}\n${gateway.logTail(20)}`)
    }
    return demo
  }

  get state(): DemoState {
    const { published, acked } = this.#ledger
    return {
      seconds: (performance.now() - this.#startMs) / 1000,
      connected: this.fleet.stats.connected,
      published: published[0] + published[1] + published[2],
      acked: acked[0] + acked[1] + acked[2],
      account: this.gateway.isRunning ? this.#account : null,
      drops: this.fleet.stats.drops,
    }
  }

  /** The whole scenario, to its judgement. */
  async run(): Promise<DemoResult> {
    const { plan, fleet, cloud } = this
    this.#startMs = performance.now()
    const { devices } = this.#options
    this.#note(
      `${count(devices)} devices connect and publish ${count(devices * READINGS_PER_DEVICE_AND_SECOND)} readings a second; the gateway acknowledges each once it is on its disk`,
    )
    const watch = this.#watch()
    cloud.faults.add(...plan.cloudFaults)
    fleet.start()
    const trouble = this.#trouble()
    await this.#until(this.#options.seconds * 1000)
    await trouble
    fleet.finish()
    // What has gone wrong once need not go wrong again while the last records drain.
    const due = faultsStillDue(plan.cloudFaults, cloud.stats.faults)
    cloud.faults.clear()
    cloud.faults.add(...due)
    this.#note(
      'the fleet stops measuring; what it still holds is acknowledged, what waits is delivered',
    )
    const stoppedMs = performance.now()
    const acked = await fleet.acknowledged(ACK_SECONDS * 1000)
    const ackSeconds = acked ? (performance.now() - stoppedMs) / 1000 : null
    const unacknowledged = this.#ledger.unacknowledged
    const account = await this.#drained(stoppedMs + DRAIN_SECONDS * 1000)
    const drained = account !== null && account.pending === 0
    const drainSeconds = drained ? (performance.now() - stoppedMs) / 1000 : null
    this.#watching = false
    await watch
    this.#note(
      `${drained ? 'nothing waits any more' : 'not everything was delivered in time'}: every reading that was published is looked up in the store`,
    )
    const verdict = await verifyStore(this.#ledger.entries(), join(this.#options.folder, 'cloud'))
    const { stats } = cloud
    const checks = judge({
      account,
      verdict,
      unacknowledged,
      ackSeconds,
      drainSeconds,
      kills: this.gateway.kills,
      pendingAtKill: this.#lastPending,
      unexpectedExits: this.gateway.unexpectedExits,
      sessionsLost: fleet.stats.sessionsLost,
      drops: fleet.stats.drops,
      cloud: {
        outages: stats.faults.outage,
        busy: stats.faults.busy,
        lostAnswers: stats.faults['lost-answer'],
        records: stats.records,
        repeats: stats.repeats,
        violations: stats.violations,
        missingSeqs: stats.missingSeqs,
      },
    })
    const passed = checks.every((check) => check.ok)
    return { passed, checks, verdict, account, repeatsRemoved: stats.repeats }
  }

  /** Goes on without faults, for a look around; ends with `close`. */
  keep(): void {
    this.cloud.faults.clear()
    this.fleet.measure(0, false)
    this.#watching = true
    void this.#watch()
  }

  /** Ends everything that runs. May be called at any time, and again. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#watching = false
    await this.fleet.close()
    await this.gateway.stop()
    await this.cloud.close()
    await this.#ledger.close()
  }

  /** The outage is announced, the gateway is killed in it and comes back. */
  async #trouble(): Promise<void> {
    const { plan, gateway } = this
    await this.#until(plan.outage.fromMs)
    const outageSeconds = ((plan.outage.untilMs - plan.outage.fromMs) / 1000).toFixed(1)
    this.#note(
      `the cloud goes down for ${outageSeconds} s: the gateway goes on taking readings, and keeps them`,
    )
    await this.#until(plan.killAtMs)
    this.#lastPending = (await this.#ask())?.pending ?? 0
    if (!(await gateway.kill())) return
    this.#note(
      `the gateway is killed (SIGKILL) with ${count(this.#lastPending)} records pending: they are on its disk, acknowledged`,
    )
    await sleep(plan.downMs)
    gateway.start()
    const isBack = await gateway.ready(START_TIMEOUT_MS)
    this.#note(
      isBack
        ? 'the gateway is back, with all of them: devices reconnect and repeat what was not acknowledged'
        : 'the gateway DOES NOT COME BACK',
    )
  }

  async #drained(untilMs: number): Promise<Account | null> {
    let account = await this.#ask()
    while (!this.#closed && account?.pending !== 0 && performance.now() < untilMs) {
      await sleep(POLL_MS)
      account = await this.#ask()
    }
    return account
  }

  async #watch(): Promise<void> {
    while (this.#watching) {
      this.#account = await this.#ask()
      this.#narrate()
      await sleep(WATCH_MS)
    }
  }

  #narrate(): void {
    const { cloud, fleet } = this
    const lines = this.#narration.look({
      seconds: this.state.seconds,
      faults: cloud.faults.fired,
      cloudDown: cloud.faults.connectionOutage().mode !== null,
      drops: fleet.stats.drops,
      storms: fleet.stats.storms,
      pending: this.state.account?.pending ?? null,
      latest: cloud.latest.perDevice(1)[0] ?? null,
    })
    for (const line of lines) this.#note(line)
  }

  #note(text: string): void {
    this.#narration.heard(this.state.seconds)
    this.#write(`${this.#clock()}  ${text}`)
  }

  async #ask(): Promise<Account | null> {
    if (!this.gateway.isRunning) return null
    return fetchAccount(this.gateway.adminUrl).catch(() => null)
  }

  async #until(ms: number): Promise<void> {
    await sleep(Math.max(0, this.#startMs + ms - performance.now()))
  }

  #clock(): string {
    return `${((performance.now() - this.#startMs) / 1000).toFixed(1).padStart(6)} s`
  }
}
