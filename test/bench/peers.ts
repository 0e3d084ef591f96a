/**
 * The peers: Mosquitto, NATS JetStream and RabbitMQ as installed, each on loopback with a temporary
 * folder of its own.
 */

import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../device-sim/free-ports.ts'
import { bindDurableQueue } from './durable-queue.ts'
import { listening, type Running, start } from './processes.ts'
import type { System } from './systems.ts'

export interface Peer {
  readonly name: string
  /** null: not installed. */
  readonly version: string | null
  /** What it does with a message, whatever its settings. */
  readonly promise: string
  /** Its defaults, and the best settings that were found; the better of them counts. */
  readonly setups: readonly Setup[]
}

export interface Setup {
  readonly name: 'defaults' | 'tuned'
  /** In words of the peer's own configuration. */
  readonly settings: string
  start(): Promise<System>
}

type Environment = Readonly<Record<string, string>>

const RABBITMQ_SCRIPT = '/usr/lib/rabbitmq/bin/rabbitmq-server'
/** Erlang and its plugins take their time. */
const RABBITMQ_START_MS = 90_000

function found(command: string, args: readonly string[], version: RegExp): string | null {
  const run = spawnSync(command, args, { encoding: 'utf8' })
  return version.exec(`${run.stdout ?? ''}${run.stderr ?? ''}`)?.[1] ?? null
}

/**
 * `tuned` comes of trials on two cores. Mosquitto: `set_tcp_nodelay true` makes it send every PUBACK in a packet of its own and
 * costs 40 %, so it is left at its default.
 */
export function findPeers(): { mosquitto: Peer; nats: Peer; rabbitmq: Peer } {
  return {
    mosquitto: {
      name: 'Mosquitto',
      version: found('mosquitto', ['-h'], /version ([\d.]+)/),
      promise: 'acknowledges in memory',
      setups: [
        setup('defaults', startMosquitto, []),
        setup('tuned', startMosquitto, [
          'max_inflight_messages 0',
          'max_queued_messages 0',
          'sys_interval 0',
        ]),
      ],
    },
    nats: {
      name: 'NATS',
      version: found('nats-server', ['-v'], /v([\d.]+)/),
      promise:
        'JetStream with file storage, MQTT, a persistent session subscribed at QoS 1; syncs every 2 minutes',
      setups: [
        setup('defaults', startNats, []),
        setup('tuned', startNats, ['max_ack_pending: 10000'], { GOGC: '400' }),
      ],
    },
    rabbitmq: {
      name: 'RabbitMQ',
      version: found('sh', ['-c', `ls -d /usr/lib/rabbitmq/lib/*`], /rabbitmq_server-([\d.]+)/),
      promise: 'MQTT plugin, a durable queue bound to amq.topic; confirms after the disk',
      setups: [
        setup('defaults', startRabbitMq, []),
        setup('tuned', startRabbitMq, [
          'classic_queue.default_version = 2',
          'mqtt.prefetch = 1000',
        ]),
      ],
    },
  }
}

function setup(
  name: Setup['name'],
  start: (lines: readonly string[], env: Environment) => Promise<System>,
  lines: readonly string[],
  env: Environment = {},
): Setup {
  const variables = Object.entries(env).map(([variable, value]) => `${variable}=${value}`)
  const settings = [...lines, ...variables].join(', ')
  return {
    name,
    settings: settings === '' ? 'as installed' : settings,
    start: () => start(lines, env),
  }
}

/** Bytes of all files below a folder: proof that a peer stored what it acknowledged. */
export function storedBytes(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

function peer(
  name: string,
  port: number,
  folder: string,
  process: Running,
  beside: readonly Running[] = [],
): System {
  return {
    name,
    version: '',
    port,
    process,
    folder,
    delivered: async () => null,
    status: async () => null,
    stop: async () => {
      await process.stop()
      for (const each of beside) await each.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function startMosquitto(lines: readonly string[]): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), 'mosquitto-bench-'))
  const port = await freePort()
  const config = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    // As Debian installs it; a snapshot every 30 minutes.
    'persistence true',
    `persistence_location ${folder}/`,
    'log_type error',
    'user root',
    ...lines,
  ]
  writeFileSync(join(folder, 'mosquitto.conf'), `${config.join('\n')}\n`)
  const mosquitto = start('mosquitto', ['-c', join(folder, 'mosquitto.conf')])
  await listening(port, mosquitto)
  return peer('Mosquitto', port, folder, mosquitto)
}

async function startNats(lines: readonly string[], env: Environment): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), 'nats-bench-'))
  const port = await freePort()
  const config = [
    'server_name: bench',
    `listen: 127.0.0.1:${await freePort()}`,
    `jetstream { store_dir: "${folder}" }`,
    `mqtt { ${[`listen: 127.0.0.1:${port}`, ...lines].join(', ')} }`,
  ]
  writeFileSync(join(folder, 'nats.conf'), `${config.join('\n')}\n`)
  const nats = start('nats-server', ['-c', join(folder, 'nats.conf')], env)
  await listening(port, nats)
  await bindDurableQueue(port)
  return peer('NATS', port, folder, nats)
}

async function startRabbitMq(lines: readonly string[]): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), 'rabbitmq-bench-'))
  mkdirSync(join(folder, 'log'))
  const port = await freePort()
  const epmdPort = await freePort()
  const config = [
    `mqtt.listeners.tcp.1 = 127.0.0.1:${port}`,
    'mqtt.allow_anonymous = true',
    ...lines,
  ]
  writeFileSync(join(folder, 'rabbitmq.conf'), `${config.join('\n')}\n`)
  writeFileSync(join(folder, 'enabled_plugins'), '[rabbitmq_mqtt].\n')
  const epmd = start('epmd', ['-address', '127.0.0.1', '-port', String(epmdPort)])
  await listening(epmdPort, epmd)
  const rabbitmq = start(RABBITMQ_SCRIPT, [], {
    HOME: folder,
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: 'bench@localhost',
    RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(await freePort()),
    RABBITMQ_DIST_PORT: String(await freePort()),
    // With this the script becomes the Erlang process instead of waiting for it, so the pid is the
    // server's.
    RABBITMQ_ALLOW_INPUT: '1',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-noinput -kernel inet_dist_use_interface {127,0,0,1}',
  })
  await listening(port, rabbitmq, RABBITMQ_START_MS)
  await bindDurableQueue(port)
  return peer('RabbitMQ', port, folder, rabbitmq, [epmd])
}
