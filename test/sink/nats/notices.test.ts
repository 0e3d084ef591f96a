/** Notices between gateways on a real nats-server: they arrive, it goes, it comes back. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { NoticeBus } from '../../../gateway/ports/notices.ts'
import type { SinkEvent } from '../../../gateway/sink/events.ts'
import type { NatsSinkConfig } from '../../../gateway/sink/nats/config.ts'
import { NatsNotices } from '../../../gateway/sink/nats/notices.ts'
import { eventually, type Rig, startRig, stopRigs } from '../../broker/harness.ts'
import { reapProcesses } from '../../support/process.ts'
import { RawMqtt } from '../../support/raw-mqtt.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { natsSinkConfig } from './configs.ts'
import { NATS_TOOLS, startServer } from './server.ts'

describeWithTool(NATS_TOOLS, 'notices on core NATS', () => {
  let folder: string
  const buses: NoticeBus[] = []
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-nats-notices-'))
  })
  afterEach(async () => {
    await stopRigs()
    for (const bus of buses.splice(0)) bus.close()
    await reapProcesses()
    rmSync(folder, { recursive: true, force: true })
  })

  function open(port: number, changes: Partial<NatsSinkConfig> = {}) {
    const events: SinkEvent[] = []
    const bus = new NatsNotices({
      name: 'nats',
      config: natsSinkConfig({ servers: [`127.0.0.1:${port}`], connectTimeout: 2_000, ...changes }),
      subject: 'sluice-takeover',
      emit: (event) => events.push(event),
    })
    buses.push(bus)
    return { bus, events, types: () => events.map(({ type }) => type) }
  }

  let shiftMs = 0
  const start = async (bus: NoticeBus, name: string): Promise<Rig> =>
    await startRig({}, undefined, {
      monotonicMs: () => performance.now() + shiftMs,
      cluster: { bus, name },
    })

  test('a client that moves ends its old connection; one that moved while the server was away does when it is back, and each is told once', async () => {
    const server = await startServer(folder)
    const here = open(server.port)
    const there = open(server.port)
    await eventually(() => here.bus.isConnected && there.bus.isConnected, 'both are connected')
    const a = await start(here.bus, 'edge-a')
    const b = await start(there.bus, 'edge-b')

    const moved = await RawMqtt.connect(a.port, { clientId: 'x' })
    shiftMs += 1_000
    const fresh = await RawMqtt.connect(b.port, { clientId: 'x' })
    await moved.closed()
    await fresh.roundTrip()
    expect(a.broker.counts.neighbors).toMatchObject({ isConnected: true, ended: 1 })

    await server.end('SIGKILL')
    await eventually(() => !here.bus.isConnected && !there.bus.isConnected, 'both have lost it')
    const left = await RawMqtt.connect(b.port, { clientId: 'y' })
    shiftMs += 1_000
    const alone = await RawMqtt.connect(a.port, { clientId: 'y' })
    await eventually(() => a.broker.counts.neighbors?.untold === 1, 'nobody was told')
    await left.roundTrip()
    await alone.roundTrip()

    await server.start()
    await eventually(() => b.broker.counts.neighbors?.ended === 1, 'it is made up for', 30_000)
    await left.closed()
    await alone.roundTrip()
    await eventually(() => here.bus.isConnected && there.bus.isConnected, 'both are back', 30_000)
    shiftMs += 1_000
    const back = await RawMqtt.connect(b.port, { clientId: 'y' })
    await alone.closed()
    await back.roundTrip()
    expect(here.types()).toEqual(['sink.notices-lost', 'sink.notices-back'])
    expect(there.types()).toEqual(['sink.notices-lost', 'sink.notices-back'])
    expect(here.bus.detail).toBeNull()
  })

  test('what keeps it from working is said in words: a login, a permission, no server', async () => {
    const limited = `authorization { users: [
      { user: limited, password: p, permissions: { publish: "other", subscribe: "other" } } ] }`
    const server = await startServer(folder, limited)
    const login = (user: string): Partial<NatsSinkConfig> => ({ user, password: { value: 'p' } })
    const denied = open(server.port, login('limited'))
    const unknown = open(server.port, login('nobody'))
    const nowhere = open(1)
    for (const [one, words] of [
      [denied, /publish and subscribe for sluice-takeover/],
      [unknown, /refuses the login/],
      [nowhere, /no connection/],
    ] as const) {
      await eventually(() => one.events.length > 0, String(words))
      expect(one.events).toMatchObject([
        { type: 'sink.notices-lost', sink: 'nats', detail: expect.stringMatching(words) as string },
      ])
      expect(one.bus.isConnected).toBe(false)
      expect(one.bus.send(Buffer.from('x'))).toBe(false)
    }
  })
})
