/**
 * Mosquitto bridges to the gateway, with the settings that people use: the real server, on both
 * sides of restarts.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect } from 'vitest'
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

testWithTool(
  TOOLS,
  'a bridge comes back after a restart of either side, with what was published meanwhile',
  async () => {
    const rig = await startRig()
    const bridge = await Bridge.start(rig, 'hall-2', ['topic plant/# both 1', 'cleansession false'])
    await bridge.up(true)
    await publish(bridge.port, 'plant/up', '1')
    await rig.records(1)

    await rig.gateway.kill()
    // Mosquitto keeps it for the gateway.
    await publish(bridge.port, 'plant/up', '2')
    await rig.startGateway()
    await rig.records(2)

    await bridge.restart()
    await bridge.up(true)
    await publish(bridge.port, 'plant/up', '3')
    const records = await rig.records(3)
    const topics = records.map(({ topic, payload }) => `${topic} ${payload.toString()}`)
    expect([...new Set(topics)]).toEqual(['plant/up 1', 'plant/up 2', 'plant/up 3'])

    const there = await watch(bridge.port, 'plant/down')
    await publish(rig.mqttPort, 'plant/down', '4')
    await there.waitForLine('got 0 4')
  },
  60_000,
)
