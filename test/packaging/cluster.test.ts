/**
 * The files for several boxes: a real HAProxy in front of real brokers, and what can be known of the
 * rest without a container engine.
 */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { freePort } from '../../device-sim/free-ports.ts'
import { FULL_ACCESS } from '../../gateway/broker/auth/access-rules.ts'
import type { Authenticate } from '../../gateway/broker/auth/authenticator.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { eventually, type Rig, startRig, stopRigs } from '../broker/harness.ts'
import { LOOPBACK } from '../broker/listeners/listener-fixture.ts'
import { checkHaproxy, Haproxy } from '../support/haproxy.ts'
import { reapProcesses, runToEnd } from '../support/process.ts'
import { packet, RawMqtt, TYPE } from '../support/raw-mqtt.ts'
import { describeWithTool, testWithTool } from '../support/tool-tests.ts'
import { findTool } from '../support/tools.ts'

const folder = fileURLToPath(new URL('../../gateway/packaging/cluster', import.meta.url))
const shipped = readFileSync(join(folder, 'haproxy.cfg'), 'utf8')

afterEach(async () => {
  await stopRigs()
  await reapProcesses()
})

/** A broker behind HAProxy, and the answer of its `/readyz`. */
interface Box {
  readonly rig: Rig
  /** Client ids, as they came. */
  readonly clients: string[]
  readonly adminPort: number
  isReady: boolean
}

async function startBox(): Promise<Box> {
  const clients: string[] = []
  const authenticate: Authenticate = async ({ clientId }) => {
    clients.push(clientId)
    return Promise.resolve({ ok: true, principal: { user: null, version: 0, ...FULL_ACCESS } })
  }
  const listener = {
    ...LOOPBACK,
    proxyProtocol: { from: ['127.0.0.1'], clientCert: 'ignore' as const },
  }
  const overrides = { listeners: [listener], allowAnonymous: true, maxConnections: 10_000 }
  const rig = await startRig(overrides, undefined, { authenticate })
  const admin = createServer((_, response) => {
    response.writeHead(box.isReady ? 200 : 503).end()
  })
  const box = { rig, clients, adminPort: await listening(admin), isReady: true }
  return box
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** The shipped file, for gateways and a port of this machine. */
function localized(boxes: readonly Box[], port: number): string {
  let text = shipped.replace('bind :1883', `bind 127.0.0.1:${port}`)
  text = text.replace('maxconn 20000', 'maxconn 4000').replace('inter 1s', 'inter 50ms')
  text = text.replace('inspect-delay 10s', 'inspect-delay 1s')
  for (const [index, { adminPort, rig }] of boxes.entries()) {
    const name = `"sluice-${index + 1}\${SLUICE_DOMAIN}:1884"`
    expect(text).toContain(name)
    text = text.replace(name, `127.0.0.1:${rig.port} port ${adminPort}`)
  }
  // The socket of statistics is put into a section of its own.
  return text
}

async function startCluster(): Promise<{ boxes: Box[]; port: number; proxy: Haproxy }> {
  const boxes = [await startBox(), await startBox(), await startBox()]
  const port = await freePort()
  const proxy = await Haproxy.start(localized(boxes, port))
  await untilUp(proxy, 3)
  return { boxes, port, proxy }
}

/** Resolves when HAProxy has asked each gateway, and so many of them are up. */
async function untilUp(proxy: Haproxy, count: number): Promise<void> {
  for (;;) {
    const servers = (await proxy.stats()).filter(({ type }) => type === '2')
    const isSettled = servers.every(({ status, check_status: check = '' }) =>
      status === 'UP' ? check.endsWith('L7OK') : status === 'DOWN',
    )
    if (isSettled && servers.filter(({ status }) => status === 'UP').length === count) return
    await new Promise((resolve) => {
      setTimeout(resolve, 20)
    })
  }
}

async function hello(port: number, clientId: string, level: 4 | 5 = 4): Promise<void> {
  const client = await RawMqtt.connect(port, { clientId, level })
  await client.end()
}

/** Which box each client id went to; a box that saw it twice counts once. */
function whereabouts(boxes: readonly Box[]): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, number[]>()
  for (const [index, { clients }] of boxes.entries())
    for (const id of new Set(clients)) found.set(id, [...(found.get(id) ?? []), index])
  return found
}

describeWithTool('haproxy', 'haproxy.cfg', () => {
  test('is taken by haproxy -c, as it is and with TLS', async () => {
    const plain = await checkHaproxy(join(folder, 'haproxy.cfg'))
    expect(plain.output).toContain('Configuration file is valid')
    expect(plain.code).toBe(0)
    const tls = fileURLToPath(new URL('../support/tls', import.meta.url))
    const own = await mkdtemp(join(tmpdir(), 'sluice-haproxy-'))
    const pem = ['server.pem', 'server.key'].map((name) => readFileSync(join(tls, name), 'utf8'))
    await writeFile(join(own, 'server.pem'), pem.join(''))
    const text = shipped
      .replace('# bind :8883', 'bind :8883')
      .replace('/etc/haproxy/server.pem', join(own, 'server.pem'))
      .replace('/etc/haproxy/devices-ca.pem', join(tls, 'authority.pem'))
    await writeFile(join(own, 'haproxy.cfg'), text)
    const { code, output } = await checkHaproxy(join(own, 'haproxy.cfg'), {
      SLUICE_DOMAIN: '.sluice.default.svc.cluster.local',
    })
    expect(output).toContain("'sluice-1.sluice.default.svc.cluster.local'")
    expect(code).toBe(0)
  })

  test('a client id has one gateway, over a restart and through two HAProxys, in each version', async () => {
    const { boxes, port, proxy } = await startCluster()
    const ids = Array.from({ length: 60 }, (_, n) => `press-${n}`)
    for (const id of ids) await hello(port, id)
    const second = await freePort()
    const other = await Haproxy.start(localized(boxes, second))
    await untilUp(other, 3)
    for (const id of ids) await hello(second, id, 5)
    await proxy.end()
    const again = await Haproxy.start(localized(boxes, port))
    await untilUp(again, 3)
    for (const id of ids) await hello(port, id)
    const found = whereabouts(boxes)
    expect(found.size).toBe(60)
    expect([...found.values()].filter((places) => places.length > 1)).toEqual([])
    expect(boxes.map(({ clients }) => clients.length > 0)).toEqual([true, true, true])
  })

  test('3,000 client ids: the busiest gateway has at most 1.2 times its share', async () => {
    const { port, proxy } = await startCluster()
    for (let from = 0; from < 3_000; from += 50) {
      await Promise.all(
        Array.from({ length: 50 }, (_, n) => hello(port, `plant/hall-3/sensor-${from + n}`)),
      )
    }
    const counts = await Promise.all(
      [1, 2, 3].map(async (n) => Number((await proxy.server('gateways', `sluice-${n}`))['stot'])),
    )
    expect(counts.reduce((sum, one) => sum + one)).toBe(3_000)
    expect(Math.max(...counts)).toBeLessThanOrEqual(1.2 * 1_000)
  })

  test('a CONNECT in pieces goes where the whole one goes', async () => {
    const { boxes, port } = await startCluster()
    await hello(port, 'press-7')
    const client = await RawMqtt.open(port)
    client.socket.setNoDelay(true)
    for (const byte of packet.connect({ clientId: 'press-7' })) {
      client.send(Buffer.of(byte))
      await new Promise((resolve) => {
        setTimeout(resolve, 2)
      })
    }
    await client.next(TYPE.CONNACK)
    await client.end()
    expect([...whereabouts(boxes).values()]).toHaveLength(1)
    expect(whereabouts(boxes).get('press-7')).toHaveLength(1)
  })

  test('without a client id each gateway is used; what is no CONNECT is told by one of them', async () => {
    const { boxes, port } = await startCluster()
    for (let n = 0; n < 20; n += 1) await hello(port, '')
    expect(boxes.map(({ clients }) => clients.length > 0)).toEqual([true, true, true])
    const garbage = await RawMqtt.open(port)
    garbage.send(Buffer.from('hello world, this is no MQTT'))
    await garbage.closed()
    const closed = () => boxes.flatMap(({ rig }) => rig.eventsOf('broker.connection-closed'))
    expect(closed()).toMatchObject([{ reason: 'malformed', remoteAddress: '127.0.0.1' }])
  })

  test('a gateway that is not ready gets no new connections, keeps its own, and gets its devices back', async () => {
    const { boxes, port, proxy } = await startCluster()
    const ids = Array.from({ length: 30 }, (_, n) => `press-${n}`)
    for (const id of ids) await hello(port, id)
    const before = whereabouts(boxes)
    const [first] = boxes as [Box]
    const mine = [...first.clients]
    const staying = await RawMqtt.connect(port, { clientId: mine[0]! })
    first.isReady = false
    await untilUp(proxy, 2)
    for (const box of boxes) box.clients.length = 0
    for (const id of ids.filter((one) => one !== mine[0])) await hello(port, id)
    expect(first.clients).toEqual([])
    // Only its devices have moved.
    for (const [id, places] of whereabouts(boxes))
      if (!mine.includes(id)) expect(places).toEqual(before.get(id))
    await staying.roundTrip()
    first.isReady = true
    await untilUp(proxy, 3)
    for (const id of ids) await hello(port, id)
    expect(new Set(first.clients)).toEqual(new Set(mine))
    await eventually(() => staying.isClosed, 'the device has taken over from itself')
  })
})

describe('the rest of the cluster', () => {
  interface ComposeFile {
    readonly services: Readonly<
      Record<string, { image: string; volumes?: string[]; environment?: Record<string, string> }>
    >
    readonly volumes: Readonly<Record<string, unknown>>
    readonly networks: { default: { ipam: { config: [{ subnet: string }] } } }
  }
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
  const compose = parse(read('compose.yaml'), { merge: true }) as ComposeFile

  function configOf(env: Record<string, string>) {
    return loadConfig(SCHEMA, { file: join(folder, 'sluice.yaml'), env, cwd: '/' }).config
  }

  test('sluice.yaml loads for each gateway, and fits HAProxy, network and NATS', () => {
    for (const n of [1, 2, 3]) {
      const { environment = {} } = compose.services[`sluice-${n}`] ?? {}
      const { admin, gateway, mqtt, sinks } = configOf(environment)
      expect(gateway.id).toBe(`sluice-${n}`)
      expect(shipped).toContain(`"sluice-${n}\${SLUICE_DOMAIN}:${mqtt.listeners[0]?.port}" id ${n}`)
      expect(shipped).toContain(`check port ${admin.port} `)
      const [{ subnet }] = compose.networks.default.ipam.config
      expect(mqtt.listeners[0]?.proxyProtocol?.from).toEqual([subnet])
      expect(sinks['nats']).toMatchObject({
        servers: [1, 2, 3].map((node) => `nats://nats-${node}:4222`),
        minReplicas: 3,
      })
    }
  })

  test('compose.yaml: every file and volume that it names is there', () => {
    expect(Object.keys(compose.services)).toHaveLength(7)
    for (const [name, service] of Object.entries(compose.services)) {
      expect(service.image, name).toMatch(/^[a-z-]+:\d+\.\d+\.\d+(-alpine)?$/)
      for (const mount of service.volumes ?? []) {
        const [source = '', target = ''] = mount.split(':')
        expect(target).toMatch(/^\//)
        // What the steps of the README make.
        if (source.startsWith('./secrets/')) expect(read('README.md')).toContain(source.slice(2))
        else if (source.startsWith('./')) expect(existsSync(join(folder, source))).toBe(true)
        else expect(Object.keys(compose.volumes)).toContain(source)
      }
    }
  })

  test('kubernetes.yaml: names, ports and selectors fit each other and the configuration', () => {
    const documents = parseAllDocuments(read('kubernetes.yaml'))
    expect(documents.flatMap(({ errors }) => errors)).toEqual([])
    const [service, set, deployment] = documents.map((one) => one.toJS())
    expect(set.spec.serviceName).toBe(service.metadata.name)
    expect(set.spec.selector.matchLabels).toEqual(service.spec.selector)
    expect(set.spec.template.metadata.labels).toEqual(service.spec.selector)
    expect(set.spec).toMatchObject({ replicas: 3, ordinals: { start: 1 } })
    const [container] = set.spec.template.spec.containers
    const { admin, gateway, mqtt } = configOf({})
    expect(container.ports.map((port: { containerPort: number }) => port.containerPort)).toEqual([
      mqtt.listeners[0]?.port,
      admin.port,
    ])
    expect(container.volumeMounts).toContainEqual({ name: 'spool', mountPath: gateway.dataDir })
    const grace = set.spec.template.spec.terminationGracePeriodSeconds
    const leave: string[] = container.lifecycle.preStop.exec.command
    expect(leave.slice(0, -1)).toEqual([
      'sluice',
      'leave',
      '--config',
      container.args.at(-1),
      '--timeout',
    ])
    const leaveMs = Number.parseInt(leave.at(-1) ?? '', 10) * 1_000
    expect(grace * 1_000).toBeGreaterThan(gateway.stopTimeout + leaveMs)
    const [haproxy] = deployment.spec.template.spec.containers
    expect(haproxy.env[0]).toEqual({
      name: 'SLUICE_DOMAIN',
      value: `.${service.metadata.name}.default.svc.cluster.local`,
    })
    expect(haproxy.image).toBe(compose.services['haproxy']?.image)
  })

  testWithTool('nats-server', 'nats.conf is taken by nats-server -t', async () => {
    const own = await mkdtemp(join(tmpdir(), 'sluice-nats-'))
    const program = findTool('nats-server') ?? ''
    const { stdout } = await runToEnd(program, ['--version'])
    const [, minor = ''] = /v2\.(\d+)\./.exec(stdout) ?? []
    const isOld = Number(minor) < 10
    const text = read('nats.conf').replace('/data', own)
    expect(text).toMatch(/^ {2}sync_interval: always$/m)
    const file = join(own, 'nats.conf')
    await writeFile(file, isOld ? text.replace('  sync_interval: always\n', '') : text)
    const env = { NATS_NAME: 'nats-1', NATS_PASSWORD: 'x' }
    const { exit, stderr } = await runToEnd(program, ['-t', '-c', file], { env })
    expect(stderr).toContain('is valid')
    expect(exit.code).toBe(0)
  })
})
