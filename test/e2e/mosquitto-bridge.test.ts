/**
 * Mosquitto bridges to the gateway, with the settings that people use: the real server, on both
 * sides of restarts.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, vi } from 'vitest'
import { freePorts } from '../../device-sim/free-ports.ts'
import { type RunningProcess, reapProcesses, runToEnd, startProcess } from '../support/process.ts'
import { testWithTool } from '../support/tool-tests.ts'
import { findTool } from '../support/tools.ts'
import { Rig } from './rig.ts'

const TOOLS = ['mosquitto', 'mosquitto_pub', 'mosquitto_sub', 'stdbuf']

const rigs: Rig[] = []
afterEach(async () => {
  await reapProcesses()
  for (const rig of rigs.splice(0)) await rig.close()
})

async function startRig(): Promise<Rig> {
  const rig = await Rig.start()
  rigs.push(rig)
  return rig
}

/** A Mosquitto with one bridge to the gateway, named `bridge-<name>` there. */
class Bridge {
  readonly name: string
  readonly port: number
  readonly #config: string
  #server: RunningProcess

  private constructor(name: string, port: number, config: string) {
    this.name = name
    this.port = port
    this.#config = config
    this.#server = this.#launch()
  }

  static async start(rig: Rig, name: string, settings: readonly string[]): Promise<Bridge> {
    const [port = 0] = await freePorts(1)
    const config = join(rig.folder, `${name}.conf`)
    const lines = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'log_type all',
      'persistence true',
      `persistence_location ${rig.folder}/`,
      `persistence_file ${name}.db`,
      `connection ${name}`,
      `address 127.0.0.1:${rig.mqttPort}`,
      `remote_clientid bridge-${name}`,
      'restart_timeout 1',
      ...settings,
    ]
    writeFileSync(config, `${lines.join('\n')}\n`)
    return new Bridge(name, port, config)
  }

  #launch(): RunningProcess {
    return startProcess(findTool('mosquitto') ?? 'mosquitto', ['-c', this.#config])
  }

  /** The gateway has accepted it, and what it subscribes to there. */
  async up(subscribes: boolean): Promise<void> {
    await this.#server.waitForLine(/Received CONNACK on connection local|Received CONNACK/, 15_000)
    if (subscribes) await this.#server.waitForLine(/Received SUBACK/, 15_000)
  }

  async restart(): Promise<void> {
    this.#server.kill('SIGTERM')
    await this.#server.exited
    this.#server = this.#launch()
  }

  get log(): string {
    return this.#server.lines.map(({ text }) => text).join('\n')
  }
}

async function publish(
  port: number | string,
  topic: string,
  payload: string,
  more: readonly string[] = [],
): Promise<void> {
  const args = [
    '-h',
    '127.0.0.1',
    '-p',
    String(port),
    '-t',
    topic,
    '-m',
    payload,
    '-q',
    '1',
    ...more,
  ]
  const { exit, stderr } = await runToEnd('mosquitto_pub', args)
  expect(exit.code, stderr).toBe(0)
}

/** Prints `got <retained> <payload>` per message. */
async function watch(port: number | string, filter: string): Promise<RunningProcess> {
  const args = [
    '-h',
    '127.0.0.1',
    '-p',
    String(port),
    '-q',
    '1',
    '-d',
    '-F',
    'got %r %p',
    '-t',
    filter,
  ]
  const one = startProcess('stdbuf', ['-oL', 'mosquitto_sub', ...args])
  await one.waitForLine(/^Subscribed /)
  return one
}

function got(one: RunningProcess): string[] {
  return one.lines.filter(({ text }) => text.startsWith('got ')).map(({ text }) => text.slice(4))
}

interface Setting {
  readonly name: string
  readonly settings: readonly string[]
  readonly direction: 'both' | 'in' | 'out'
  /** Without the mark of a bridge its own messages come back once, as to any client. */
  readonly isPlain?: boolean
}

/** What `topic … both` does besides; each bridge has a part of the topics of its own. */
const SETTINGS: readonly Setting[] = [
  { name: 'defaults', settings: [], direction: 'both' },
  { name: 'plain', settings: ['try_private false'], direction: 'both', isPlain: true },
  { name: 'quiet', settings: ['notifications false'], direction: 'both' },
  { name: 'local', settings: ['notifications_local_only true'], direction: 'both' },
  { name: 'notice', settings: ['notification_topic bridges/hall-2/state'], direction: 'both' },
  { name: 'clean', settings: ['cleansession true'], direction: 'both' },
  { name: 'kept', settings: ['cleansession false'], direction: 'both' },
  { name: 'v31', settings: ['bridge_protocol_version mqttv31'], direction: 'both' },
  { name: 'v5', settings: ['bridge_protocol_version mqttv50'], direction: 'both' },
  { name: 'in', settings: [], direction: 'in' },
  { name: 'out', settings: [], direction: 'out' },
]

testWithTool(
  TOOLS,
  'a bridge connects with its defaults and with each setting, and carries messages its way, each once',
  async () => {
    const rig = await startRig()
    const bridges = await Promise.all(
      SETTINGS.map(async ({ name, settings, direction }) =>
        Bridge.start(rig, name, [...settings, `topic plant/${name}/# ${direction} 1`]),
      ),
    )
    for (const [index, { name, direction, isPlain }] of SETTINGS.entries()) {
      const bridge = bridges[index]!
      await bridge.up(direction !== 'out')
      const there = await watch(bridge.port, `plant/${name}/#`)
      await publish(bridge.port, `plant/${name}/up`, 'up', ['-r'])
      if (direction !== 'out') {
        await publish(rig.mqttPort, `plant/${name}/down`, 'down', ['-r'])
        await there.waitForLine('got 0 down')
      }
      // Behind everything that the gateway may have sent back.
      await publish(direction === 'out' ? bridge.port : rig.mqttPort, `plant/${name}/last`, 'last')
      await there.waitForLine('got 0 last')
      const echo = isPlain === true ? ['0 up'] : []
      const down = direction === 'out' ? [] : ['0 down']
      expect(got(there).toSorted(), `${name}\n${bridge.log}`).toEqual(
        ['0 up', ...echo, ...down, '0 last'].toSorted(),
      )
      // Retained there as it was published here: only a connection with the mark gets the flag.
      const later = await watch(bridge.port, `plant/${name}/down`)
      if (direction !== 'out' && isPlain !== true) await later.waitForLine('got 1 down')
    }
    const outward = SETTINGS.filter(({ direction }) => direction !== 'in')
    const inward = SETTINGS.filter(({ direction }) => direction !== 'out')
    // Both ways, the last of each, and one notice.
    const records = await rig.records(outward.length + inward.length + SETTINGS.length + 1)
    for (const { name } of outward) {
      const own = records.filter(({ topic }) => topic === `plant/${name}/up`)
      expect(own, name).toMatchObject([{ device: `bridge-${name}`, qos: 1, retain: true }])
    }
    // Of `notification_topic`: a topic like any other.
    expect(records.find(({ topic }) => topic === 'bridges/hall-2/state')).toMatchObject({
      device: 'bridge-notice',
    })
    expect(records.some(({ topic }) => topic.startsWith('$'))).toBe(false)
    expect(rig.gateway.logTail(200)).toContain('dollar-topic')
  },
  60_000,
)

/** Repeats at QoS 1 come before the last of them. */
const WAIT = { timeout: 15_000, interval: 50 }

const RETURNING = [
  { name: 'old-1', version: 'mqttv311', qos: 1 },
  { name: 'old-2', version: 'mqttv311', qos: 2 },
  { name: 'new-1', version: 'mqttv50', qos: 1 },
  { name: 'new-2', version: 'mqttv50', qos: 2 },
] as const

testWithTool(
  TOOLS,
  'a bridge of 3.1.1 or 5 comes back after a restart of either side, with what was published meanwhile, at QoS 2 once',
  async () => {
    const rig = await startRig()
    const bridges = await Promise.all(
      RETURNING.map(async ({ name, version, qos }) => {
        const topic = `topic plant/${name}/# both ${qos}`
        const protocol = `bridge_protocol_version ${version}`
        return await Bridge.start(rig, name, [topic, protocol, 'cleansession false'])
      }),
    )
    const publishAll = async (payload: string): Promise<void> => {
      for (const [index, { name, qos }] of RETURNING.entries())
        await publish(bridges[index]!.port, `plant/${name}/up`, payload, ['-q', `${qos}`])
    }
    for (const bridge of bridges) await bridge.up(true)
    await publishAll('1')
    await rig.records(4)

    await rig.gateway.kill()
    // Mosquitto keeps it for the gateway.
    await publishAll('2')
    await rig.startGateway()
    await rig.records(8)

    for (const bridge of bridges) await bridge.restart()
    for (const bridge of bridges) await bridge.up(true)
    await publishAll('3')
    await vi.waitUntil(async () => {
      const last = (await rig.records(12)).filter(({ payload }) => payload.toString() === '3')
      return last.length === RETURNING.length
    }, WAIT)
    const records = await rig.records(12)
    for (const { name, qos } of RETURNING) {
      const own = records.filter(({ topic }) => topic === `plant/${name}/up`)
      const payloads = own.map(({ payload }) => payload.toString())
      expect(qos === 2 ? payloads : [...new Set(payloads)], name).toEqual(['1', '2', '3'])
    }

    for (const [index, { name }] of RETURNING.entries()) {
      const there = await watch(bridges[index]!.port, `plant/${name}/down`)
      await publish(rig.mqttPort, `plant/${name}/down`, '4')
      await there.waitForLine('got 0 4')
    }
  },
  60_000,
)
