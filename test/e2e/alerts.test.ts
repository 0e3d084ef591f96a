/**
 * The alert rules against what they watch: a real gateway in trouble, scraped by a real Prometheus
 * that loads the rules as they are, but for their waiting times (`for`), which the unit tests check
 * (test/observe/rules.unit.yml). Also: each query of the dashboard finds something in a real
 * scrape, and promtool has no complaint about one.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect } from 'vitest'
import { parse } from 'yaml'
import { freePorts } from '../../device-sim/free-ports.ts'
import { ROOT, readText } from '../docs/source-tree.ts'
import { withoutVariables } from '../observe/promql.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { reapProcesses, runProgram, startProcess } from '../support/process.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'
import { type ScriptedRequest, ScriptedSink, type Step } from '../support/scripted-sink.ts'
import { testWithTool } from '../support/tool-tests.ts'
import { findTool } from '../support/tools.ts'

const SCRAPE_MS = 500
const POLL_MS = 100
const DEADLINE_MS = 25_000
/** The rule wants more than ten. */
const GUESSES = 20
/**
 * True of the machine and not of this gateway: a slow one has slow commits, and what else runs here
 * fills the disk that they share, which the forecast of a few seconds, without its waiting time,
 * takes for the pace of an hour. The unit tests check both rules.
 */
const OF_THE_MACHINE = new Set(['SluiceCommitSlow', 'SluiceDiskFilling'])

let folder = ''
let sink: ScriptedSink | null = null

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-alerts-'))
})

afterEach(async () => {
  await reapProcesses()
  await sink?.close()
  rmSync(folder, { recursive: true })
})

/**
 * One server plays three sinks: it takes the stream `good`, and nothing else, each in its own way.
 */
function answer({ path, headers }: ScriptedRequest): Step {
  if (path === '/locked') return { status: 401 }
  return { status: headers['sluice-stream'] === 'good' ? 200 : 500 }
}

async function startGateway(): Promise<GatewayProcess> {
  sink = await ScriptedSink.start({ script: answer })
  const url = (path: string) => new URL(path, sink?.url).href
  const passwordFile = join(folder, 'passwords')
  const made = await runProgram('gateway', ['passwd', 'press-7', '--file', passwordFile], {
    input: 'right\n',
  })
  assert.equal(made.exit.code, 0, made.stderr)
  const [open = 0, guarded = 0] = await freePorts(2)
  const listener = (port: number) => ({ host: '127.0.0.1', port })
  const ofSink = (path: string) => ({
    type: 'http',
    url: url(path),
    linger: '0s',
    timeout: '5s',
    maxInFlight: 4,
  })
  const gateway = await GatewayProcess.prepare({
    folder,
    sinkUrl: url('/choosy'),
    sink: { maxInFlight: 4 },
    sections: {
      mqtt: { listeners: [listener(open), { ...listener(guarded), auth: { passwordFile } }] },
      streams: {
        good: { topics: ['good/#'] },
        bad: { topics: ['bad/#'] },
        failing: { topics: ['failing/#'], sink: 'down' },
        locked: { topics: ['locked/#'], sink: 'locked' },
      },
      sinks: { down: ofSink('/down'), locked: ofSink('/locked') },
    },
  })
  await gateway.start()
  return Object.assign(gateway, { open, guarded })
}

/** Prometheus with the project's own rules, none of which waits. */
class Prometheus {
  readonly #url: string

  private constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}`
  }

  static async start(target: string): Promise<Prometheus> {
    const [port = 0] = await freePorts(1)
    const home = join(folder, 'prometheus')
    mkdirSync(home)
    const rules = parse(readText('dashboards/prometheus/rules.yml')) as {
      groups: { rules: { for?: string }[] }[]
    }
    for (const rule of rules.groups.flatMap((group) => group.rules)) delete rule.for
    writeFileSync(join(home, 'rules.yml'), JSON.stringify(rules))
    const config = {
      global: { scrape_interval: `${SCRAPE_MS}ms`, evaluation_interval: `${SCRAPE_MS}ms` },
      rule_files: ['rules.yml'],
      scrape_configs: [{ job_name: 'sluice', static_configs: [{ targets: [target] }] }],
    }
    writeFileSync(join(home, 'prometheus.yml'), JSON.stringify(config))
    startProcess(findTool('prometheus')!, [
      `--config.file=${join(home, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(home, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ])
    const prometheus = new Prometheus(port)
    await prometheus.until('the first scrape', async () => {
      return (await prometheus.query('sluice_broker_unrouted_messages_total')).length > 0
    })
    return prometheus
  }

  /** Label sets and values. */
  async query(
    expr: string,
  ): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
    const url = `${this.#url}/api/v1/query?query=${encodeURIComponent(expr)}`
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) })
    const { data, error } = (await response.json()) as {
      data?: { result: { metric: Record<string, string>; value: [number, string] }[] }
      error?: string
    }
    if (data === undefined) throw new Error(`${expr}: ${error}`)
    return data.result
  }

  /** Names of what fires, with what it fires for. */
  async firing(): Promise<string[]> {
    const alerts = await this.query('ALERTS{alertstate="firing"}')
    return alerts
      .map(({ metric: { alertname, stream, sink: of, outcome } }) =>
        [alertname, stream, of, outcome].filter((one) => one !== undefined).join(' '),
      )
      .toSorted()
  }

  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + DEADLINE_MS
    for (;;) {
      // Not listening yet is as good as not yet.
      if (await holds().catch(() => false)) return
      if (performance.now() > endMs)
        throw new Error(
          `not within ${DEADLINE_MS} ms: ${what}; firing: ${(await this.firing()).join(', ')}`,
        )
      await sleep(POLL_MS)
    }
  }
}

/** Comes with a wrong password; resolves when the connection is closed. */
async function guess(port: number): Promise<void> {
  const socket = createConnection(port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(packet.connect({ clientId: 'press-7', username: 'press-7', password: 'wrong' }))
  socket.resume()
  await once(socket, 'close')
}

testWithTool(
  ['prometheus', 'promtool'],
  'a gateway in trouble raises the alerts of its troubles and no others, and a dead one raises that',
  async () => {
    const gateway = (await startGateway()) as GatewayProcess & { open: number; guarded: number }
    const prometheus = await Prometheus.start(new URL(gateway.adminUrl).host)
    const device = await RawMqtt.connect(gateway.open, { clientId: 'd' })
    for (const [index, topic] of ['good/1', 'bad/1', 'failing/1', 'locked/1', 'godo/1'].entries())
      device.send(packet.publish(topic, '{"n":1}', { qos: 1, id: index + 1 }))
    await device.acks(5)
    let id = 100
    // The sink goes on taking this stream, so that it is the other one that fails and not the sink.
    const steady = setInterval(
      () => device.send(packet.publish('good/1', '{"n":2}', { qos: 1, id: ++id })),
      200,
    )
    try {
      for (let n = 0; n < GUESSES; n += 1) await guess(gateway.guarded)
      const expected = [
        'SluiceLoginsFailing',
        'SluiceSinkFailing down',
        'SluiceSinkHeld locked',
        'SluiceStreamRetrying bad cloud',
        'SluiceUnrouted accepted',
      ]
      await prometheus.until(expected.join(', '), async () => {
        const firing = await prometheus.firing()
        return expected.every((one) => firing.includes(one))
      })
      expect((await prometheus.firing()).filter((one) => !OF_THE_MACHINE.has(one))).toEqual(
        expected,
      )
      expect((await gateway.status()).broker?.lastUnrouted).toMatchObject({
        topic: 'godo/1',
        nearest: { filter: 'good/#', stream: 'good' },
      })
      await dashboardFindsAll(prometheus)
      checkMetrics(await (await fetch(`${gateway.adminUrl}/metrics`)).text())
    } finally {
      clearInterval(steady)
    }
    device.socket.destroy()
    await gateway.kill()
    await prometheus.until('SluiceDown', async () =>
      (await prometheus.firing()).includes('SluiceDown'),
    )
    documentsFolder(gateway.dataDir)
  },
  60_000,
)

/** Of panels that show only what is not zero, an empty one is in order. */
async function dashboardFindsAll(prometheus: Prometheus): Promise<void> {
  const { panels } = JSON.parse(readText('dashboards/grafana/dashboards/sluice.json')) as {
    panels: { title: string; targets?: { expr: string }[] }[]
  }
  const missing: string[] = []
  for (const { title, targets } of panels)
    for (const { expr } of targets ?? []) {
      const found = await prometheus.query(withoutVariables(expr))
      if (found.length === 0 && !expr.endsWith(' > 0')) missing.push(`${title}: ${expr}`)
    }
  expect(missing).toEqual([])
}

function checkMetrics(text: string): void {
  const { stdout, stderr } = (() => {
    try {
      return {
        stdout: execFileSync(findTool('promtool')!, ['check', 'metrics'], {
          input: text,
          stdio: 'pipe',
        }),
        stderr: '',
      }
    } catch (error) {
      return error as { stdout: Buffer; stderr: Buffer }
    }
  })()
  expect(`${String(stdout)}${String(stderr)}`).toBe('')
}

/** What a gateway makes in its data folder is in the spool's document. */
function documentsFolder(dataDir: string): void {
  const spool = readFileSync(join(ROOT, 'gateway/spool/README.md'), 'utf8')
  const section = /\n## The data folder\n([^]*?)\n## /.exec(spool)?.[1] ?? ''
  const named = [...section.matchAll(/`([a-z.-]+)\/?`/g)].map((match) => match[1])
  const made = readdirSync(dataDir)
  expect(made.length).toBeGreaterThan(3)
  expect(made.filter((name) => !named.includes(name))).toEqual([])
}
