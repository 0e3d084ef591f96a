/** The peers: Mosquitto, NATS JetStream and RabbitMQ as installed, each on loopback with a temporary folder of its own. */

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
  readonly settings: string
  start(): Promise<System>
}

const RABBITMQ_SCRIPT = '/usr/lib/rabbitmq/bin/rabbitmq-server'
/** Erlang and its plugins take their time. */
const RABBITMQ_START_MS = 90_000

function found(command: string, args: readonly string[], version: RegExp): string | null {
  const run = spawnSync(command, args, { encoding: 'utf8' })
  return version.exec(`${run.stdout ?? ''}${run.stderr ?? ''}`)?.[1] ?? null
}

export function findPeers(): { mosquitto: Peer; nats: Peer; rabbitmq: Peer } {
  return {
    mosquitto: {
      name: 'Mosquitto',
      version: found('mosquitto', ['-h'], /version ([\d.]+)/),
      settings: 'persistence on, acknowledges in memory',
      start: startMosquitto,
    },
    nats: {
      name: 'NATS',
      version: found('nats-server', ['-v'], /v([\d.]+)/),
      settings:
        'JetStream with file storage, MQTT, a persistent session subscribed at QoS 1; syncs every 2 minutes',
      start: startNats,
    },
    rabbitmq: {
      name: 'RabbitMQ',
      version: found('sh', ['-c', `ls -d /usr/lib/rabbitmq/lib/*`], /rabbitmq_server-([\d.]+)/),
      settings: 'MQTT plugin, a durable queue bound to amq.topic; confirms after the disk',
      start: startRabbitMq,
    },
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

async function startMosquitto(): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), 'mosquitto-bench-'))
  const port = await freePort()
  const config = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'persistence true',
    `persistence_location ${folder}/`,
    'max_inflight_messages 0',
    'set_tcp_nodelay true',
    'log_type error',
    'user root',
  ]
  writeFileSync(join(folder, 'mosquitto.conf'), `${config.join('\n')}\n`)
  const mosquitto = start('mosquitto', ['-c', join(folder, 'mosquitto.conf')])
  await listening(port, mosquitto)
  return peer('Mosquitto', port, folder, mosquitto)
}

async function startNats(): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), 'nats-bench-'))
  const port = await freePort()
  const config = [
    'server_name: bench',
    `listen: 127.0.0.1:${await freePort()}`,
    `jetstream { store_dir: "${folder}" }`,
    `mqtt { listen: 127.0.0.1:${port} }`,
  ]
  writeFileSync(join(folder, 'nats.conf'), `${config.join('\n')}\n`)
  const nats = start('nats-server', ['-c', join(folder, 'nats.conf')])
  await listening(port, nats)
  await bindDurableQueue(port)
  return peer('NATS', port, folder, nats)
}

async function startRabbitMq(): Promise<System> {
  const folder = mkdtempSync(join(tmpdir(), 'rabbitmq-bench-'))
  mkdirSync(join(folder, 'log'))
  const port = await freePort()
  const epmdPort = await freePort()
  writeFileSync(
    join(folder, 'rabbitmq.conf'),
    `mqtt.listeners.tcp.1 = 127.0.0.1:${port}\nmqtt.allow_anonymous = true\n`,
  )
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
    // With this the script becomes the Erlang process instead of waiting for it, so the pid is the server's.
    RABBITMQ_ALLOW_INPUT: '1',
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-noinput -kernel inet_dist_use_interface {127,0,0,1}',
  })
  await listening(port, rabbitmq, RABBITMQ_START_MS)
  await bindDurableQueue(port)
  return peer('RabbitMQ', port, folder, rabbitmq, [epmd])
}
