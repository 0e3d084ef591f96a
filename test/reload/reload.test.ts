import { afterEach, expect, test } from 'vitest'
import { freePort } from '../../device-sim/free-ports.ts'
import { Qos1Device } from '../support/qos1-device.ts'
import { ScriptedSink } from '../support/scripted-sink.ts'
import { ReloadRig } from './fixture.ts'

const closing: Array<() => Promise<void>> = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function sink(): Promise<ScriptedSink> {
  const made = await ScriptedSink.start()
  closing.push(() => made.close())
  return made
}

async function rig(written: Record<string, unknown>): Promise<ReloadRig> {
  const made = await ReloadRig.start(written)
  closing.push(() => made.stop())
  return made
}

async function device(to: ReloadRig, clientId: string): Promise<Qos1Device> {
  const made = new Qos1Device(clientId, { window: 10 })
  await made.connect(to.port)
  closing.push(() => made.close())
  made.begin()
  return made
}

/** Numbers of the readings of one device that the sink has. */
function received(of: ScriptedSink, clientId: string): Set<number> {
  const lines = of.requests.filter(({ stored }) => stored).flatMap(({ lines }) => lines)
  const records = lines.map(
    (line) => JSON.parse(line) as { device: string; payload: { n: number } },
  )
  return new Set(records.filter((one) => one.device === clientId).map(({ payload }) => payload.n))
}

test('streams come and go, and a device goes on over its connection', async () => {
  const cloud = await sink()
  const plant = await sink()
  const sinks = {
    cloud: { url: cloud.url, linger: '0ms' },
    plant: { url: plant.url, linger: '0ms' },
  }
  const gateway = await rig({ sinks, streams: { telemetry: {} } })
  const press = await device(gateway, 'press-7')
  await expect.poll(() => press.acked.length).toBeGreaterThan(20)
  const added = await gateway.reload({
    sinks,
    streams: { telemetry: {}, alarms: { topics: ['plant/#'], sink: 'plant' } },
  })
  expect(added).toMatchObject({ applied: true, problems: [] })
  expect(added.plan.changes).toEqual([
    expect.objectContaining({ key: 'streams.alarms', effect: 'live', from: null }),
  ])
  await expect.poll(() => received(plant, 'press-7').size).toBeGreaterThan(20)
  const moved = await gateway.reload({ sinks, streams: { telemetry: { sink: 'plant' } } })
  expect(moved.plan.changes.map(({ key }) => key)).toEqual([
    'streams.telemetry.sink',
    'streams.alarms',
  ])
  const from = press.acked.length
  await expect.poll(() => press.acked.length).toBeGreaterThan(from + 50)
  press.pause()
  await expect.poll(() => press.unacked).toBe(0)
  press.check()
  await expect
    .poll(() => new Set([...received(cloud, 'press-7'), ...received(plant, 'press-7')]).size)
    .toBe(press.acked.length)
  const { streams } = await gateway.status()
  for (const { counters } of streams)
    expect(counters.received + counters.requeued).toBe(
      counters.delivered + counters.deadLettered + sum(counters.dropped) + counters.pending,
    )
})

test('a file that cannot be used, or needs a restart, changes nothing', async () => {
  const cloud = await sink()
  const sinks = { cloud: { url: cloud.url } }
  const gateway = await rig({ sinks })
  const wrong = await gateway.reload({ sinks: { cloud: { url: 'nowhere' } } })
  expect(wrong).toMatchObject({ applied: false })
  expect(wrong.problems.join()).toContain('sinks.cloud.url')
  const restart = await gateway.reload({ sinks, gateway: { id: 'edge-2' }, log: { level: 'warn' } })
  expect(restart).toMatchObject({ applied: false, plan: { refused: [{ key: 'gateway.id' }] } })
  expect((await gateway.config()).effective).toMatchObject({ log: { level: 'error' } })
  const failed = async () => (await gateway.status()).configuration?.failedReload ?? null
  expect(await failed()).toMatchObject({
    outcome: 'refused',
    why: expect.stringContaining('gateway.id') as string,
  })
  // The file says again what is in force: nothing is left to mend.
  await gateway.reload({ sinks })
  expect(await failed()).toBeNull()
})

test('the file is warned of as a check warns of it: its keys, and what this host does not give', async () => {
  const sinks = { cloud: { url: 'http://127.0.0.1:9/' } }
  const gateway = await rig({ sinks })
  const spare = { ...sinks, spare: { url: 'http://127.0.0.1:9/' } }
  const streams = { telemetry: { maxBytes: '900000GiB' } }
  const { applied, warnings } = await gateway.reload({ sinks: spare, streams })
  expect(applied).toBe(true)
  expect(warnings).toEqual([
    'sinks.spare: no stream uses it',
    expect.stringMatching(/^streams: the sum of maxBytes .* exceeds the free disk/) as string,
  ])
})

test('a change of the log level is told by whichever of the two levels lets more through', async () => {
  const gateway = await rig({ log: { level: 'info' } })
  for (const level of ['warn', 'info']) await gateway.reload({ log: { level } })
  const told = (await gateway.log()).filter((line) => line.includes('log.level'))
  expect(told).toEqual(Array(2).fill('the configuration was reloaded: log.level'))
})

test('a host that overlaps the one at its port needs a restart: the refusal blames no other program', async () => {
  const port = await freePort()
  const at = (host: string) => ({ mqtt: { allowAnonymous: true, listeners: [{ host, port }] } })
  const gateway = await rig(at('127.0.0.1'))
  const press = await device(gateway, 'press-7')
  const { applied, problems } = await gateway.reload(at('0.0.0.0'))
  expect(applied).toBe(false)
  expect(problems).toEqual([expect.stringContaining('this gateway listens on that port')])
  expect(problems.join()).toContain('restart')
  const from = press.acked.length
  await expect.poll(() => press.acked.length).toBeGreaterThan(from)
  press.check()
})

test('within its probation a sink that was fine and is held brings the former configuration back', async () => {
  const cloud = await sink()
  const locked = await ScriptedSink.start({ script: [{ status: 401 }] })
  closing.push(() => locked.close())
  const gateway = await rig({ sinks: { cloud: { url: cloud.url, linger: '0ms' } } })
  const press = await device(gateway, 'press-7')
  await expect.poll(() => received(cloud, 'press-7').size).toBeGreaterThan(0)
  const moved = await gateway.reload(
    { sinks: { cloud: { url: locked.url, linger: '0ms' } } },
    30_000,
  )
  expect(moved.applied).toBe(true)
  await expect
    .poll(async () => (await gateway.config()).wentBack?.why)
    .toContain('sink cloud is held')
  expect((await gateway.status()).configuration?.failedReload).toMatchObject({
    outcome: 'went-back',
    why: expect.stringContaining('sink cloud is held') as string,
  })
  const from = received(cloud, 'press-7').size
  await expect.poll(() => received(cloud, 'press-7').size).toBeGreaterThan(from)
  press.check()
  const good = { cloud: { url: cloud.url, linger: '0ms' } }
  expect((await gateway.reload({ sinks: good, log: { level: 'warn' } })).applied).toBe(true)
  expect((await gateway.config()).wentBack).toBeNull()
  expect((await gateway.status()).configuration?.failedReload).toBeNull()
})

test('a sink that the reload does not concern, and is held meanwhile, brings nothing back', async () => {
  const locked = await ScriptedSink.start({ script: [{ status: 401 }] })
  closing.push(() => locked.close())
  const sinks = { cloud: { url: locked.url, linger: '0ms' } }
  const gateway = await rig({ sinks })
  const moved = await gateway.reload({ sinks, log: { level: 'warn' } }, 30_000)
  expect(moved.applied).toBe(true)
  // The first batch is the one that finds out.
  await device(gateway, 'press-7')
  await expect.poll(async () => (await gateway.status()).sinks[0]?.state).toBe('held')
  const { effective, wentBack } = await gateway.config()
  expect(wentBack).toBeNull()
  expect(effective).toMatchObject({ log: { level: 'warn' } })
})

test('with admin.watchConfig the file is applied when it changes', async () => {
  const cloud = await sink()
  const sinks = { cloud: { url: cloud.url } }
  const admin = { host: '127.0.0.1', port: 0, watchConfig: true }
  const gateway = await rig({ sinks, admin })
  await gateway.write({ sinks, admin, log: { level: 'warn' } })
  await expect
    .poll(async () => (await gateway.config()).effective, { timeout: 8_000 })
    .toMatchObject({ log: { level: 'warn' } })
})

function sum(of: Readonly<Record<string, number>>): number {
  return Object.values(of).reduce((total, one) => total + one, 0)
}
