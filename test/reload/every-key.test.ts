/**
 * Every key of the table, changed at a gateway that runs: it does what the table says of it, and a
 * device on a listener that has no part in it goes on over its connection. What a change does to
 * deliveries and connections is tried in reload.test.ts; here it is that no key is forgotten.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freePorts } from '../../device-sim/free-ports.ts'
import { describeKeys, type KeyDescription } from '../../gateway/config/keys/describe.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { shownValue } from '../../gateway/config/print.ts'
import { keyPath } from '../../gateway/config/walk.ts'
import { type Config, SCHEMA, type SinkConfig } from '../../gateway/configuration.ts'
import { planReload } from '../../gateway/reload/plan.ts'
import { SINK_TYPES, sinkTypeOf } from '../../gateway/sink/registry.ts'
import {
  asYaml,
  pathOf,
  read,
  sampleOf,
  surroundingsOf,
  typeOf,
  withValue,
} from '../config/key-samples.ts'
import { packet, RawMqtt } from '../support/raw-mqtt.ts'
import { ReloadRig, type Written } from './fixture.ts'
import { NamedFiles } from './named-files.ts'

const KEYS = describeKeys(SCHEMA.root)
/** Of the stream or sink that has the key. */
const NAME = 'probe'

type Section = Readonly<Record<string, unknown>>
type Place = ReadonlyArray<string | number>

/** A configuration without the key's sample, and with it. */
interface Pair {
  readonly from: Written
  readonly to: Written
  /** Of the key in both. */
  readonly path: Place
}

/** Of the second listener, and another free one. */
type Ports = Readonly<Record<'second' | 'other', number>>

/** What a gateway needs around the surroundings of a key. */
class Bench {
  readonly #rig: ReloadRig
  readonly #device: RawMqtt
  readonly #files: NamedFiles
  readonly #ports: Ports
  #id = 0

  private constructor(rig: ReloadRig, device: RawMqtt, files: NamedFiles, ports: Ports) {
    this.#rig = rig
    this.#device = device
    this.#files = files
    this.#ports = ports
  }

  /** `surroundings`: of the keys that are tried, as far as they need a start. */
  static async start(surroundings: Section = {}): Promise<Bench> {
    const files = await NamedFiles.make()
    const [second = 0, other = 0] = await freePorts(2)
    const rig = await ReloadRig.start(whole(surroundings, second))
    const device = await RawMqtt.connect(rig.port, { clientId: 'press-7' })
    return new Bench(rig, device, files, { second, other })
  }

  async stop(): Promise<void> {
    this.#device.cut()
    await this.#rig.stop()
    await this.#files.remove()
  }

  /** From a configuration without the key's sample to one with it. */
  async change(key: KeyDescription): Promise<void> {
    const { from, to, path } = this.#pairOf(key)
    const base = await this.#rig.reload(from)
    expect(base, 'the configuration before').toMatchObject({ problems: [], plan: { refused: [] } })
    const before = await this.#inForce()
    expect(before).toEqual(this.#shown())

    const { applied, plan, problems } = await this.#rig.reload(to)
    const wanted = this.#shown()
    expect(problems).toEqual([])
    const { change, refused } = wantedPlan(key, path, [before, wanted])
    expect(plan).toEqual({ changes: [change], refused })
    expect(applied).toBe(refused.length === 0)
    expect(await this.#inForce()).toEqual(applied ? wanted : before)
    await this.#publish()
  }

  /** The same of a key whose sink cannot be had here: the plan is right, and nothing changes. */
  async refuse(key: KeyDescription, why: string): Promise<void> {
    const { from, to, path } = this.#pairOf(key)
    await this.#rig.reload(whole({}, this.#ports.second))
    const before = await this.#inForce()
    const { applied, problems } = await this.#rig.reload(to)
    expect(problems).toEqual([`sinks.${NAME}: ${why}`])
    expect(applied).toBe(false)
    expect(await this.#inForce()).toEqual(before)
    const wanted = this.#loaded()
    await this.#rig.write(from)
    const former = this.#loaded()
    const shown = [former, wanted].map((one) => shownValue(SCHEMA.root, one))
    const { change, refused } = wantedPlan(key, path, shown)
    expect(planReload(former, wanted)).toEqual({ changes: [change], refused })
    await this.#publish()
  }

  #pairOf(key: KeyDescription): Pair {
    const path = pathOf(key, NAME)
    const surroundings = this.#files.named(surroundingsOf(key, NAME), 'first')
    const from = opened(surroundings, path)
    const own = this.#own(key)
    const sample = own ?? asYaml(key.type, sampleOf(key))
    const value = this.#files.named(sample, 'second', String(path.at(-1)))
    return {
      // Keys beside a kind are keys of that kind.
      from: whole(
        /\.(auth|proxy)\.kind$/.test(key.path) ? without(from, path) : from,
        this.#ports.second,
      ),
      to: whole(withValue(from, path, value) as Section, this.#ports.second),
      path: path[1] === 'listeners' ? path.with(2, 1) : path,
    }
  }

  #own({ path }: KeyDescription): unknown {
    return path === 'mqtt.listeners.<n>.port' ? this.#ports.other : SAMPLES[path]
  }

  /** The file as it is now. */
  #loaded(): Config {
    const { file, folder } = this.#rig
    return loadConfig(SCHEMA, { file, env: {}, cwd: folder }).config
  }

  /** As it would be printed. */
  #shown(): unknown {
    return shownValue(SCHEMA.root, this.#loaded())
  }

  async #inForce(): Promise<unknown> {
    return (await this.#rig.config()).effective
  }

  async #publish(): Promise<void> {
    const id = ++this.#id
    this.#device.send(packet.publish('plant/press-7', '{"v":1}', { qos: 1, id }))
    expect(await this.#device.acks(1)).toEqual([id])
  }
}

/** The device comes by the first listener and goes to the stream `telemetry`. */
function whole(surroundings: Section, secondPort: number): Written {
  const { mqtt, streams, sinks, spool, admin, log, ...rest } = surroundings as Readonly<
    Record<string, Section | undefined>
  >
  const [listener] = (mqtt?.['listeners'] ?? []) as readonly Section[]
  const own = streams?.[NAME] as Section | undefined
  return {
    ...rest,
    mqtt: {
      ...mqtt,
      listeners: [
        { host: '127.0.0.1', port: 0, auth: null },
        { host: '127.0.0.1', port: secondPort, ...listener },
      ],
    },
    streams: {
      telemetry: { topics: ['plant/#'] },
      ...(own === undefined ? {} : { [NAME]: { topics: ['other/#'], ...own } }),
    },
    sinks: { cloud: { url: 'http://127.0.0.1:9/ingest' }, ...sinks },
    spool: { minFreeBytes: '1MiB', commitInterval: '0ms', ...spool },
    admin: { host: '127.0.0.1', port: 0, ...admin },
    log: { level: 'error', ...log },
  }
}

/** What the plan has to be; a section of another type is one change, of the section. */
function wantedPlan(key: KeyDescription, path: Place, shown: readonly unknown[]) {
  const isChooser = KEYS.some(({ only }) => only?.at === key.path)
  const changed = isChooser ? path.slice(0, -1) : path
  const [from = null, to = null] = shown.map((config) => read(config, changed))
  const name = keyPath(changed)
  const change = { key: name, from, to, effect: key.effect }
  const refused =
    key.effect === 'restart' ? [{ key: name, why: expect.stringContaining('restart') }] : []
  return { change, refused }
}

/** The sections of a sink that the key is in are there already: what comes is the key alone. */
function opened(surroundings: Section, path: Place): Section {
  if (path[0] !== 'sinks') return surroundings
  return path.slice(3).reduce<Section>((of, _, index) => {
    const at = path.slice(0, index + 3)
    return read(of, at) === undefined ? (withValue(of, at, {}) as Section) : of
  }, surroundings)
}

function without(surroundings: Section, path: Place): Section {
  return withValue(surroundings, path.slice(0, -1), undefined) as Section
}

/** In place of samples that cannot be tried at this gateway, or are what is there before. */
const SAMPLES: Readonly<Record<string, unknown>> = {
  // One of this machine that nobody listens on.
  'mqtt.listeners.<n>.host': '127.0.0.2',
  'mqtt.maxPacketBytes': '32MiB',
  'mqtt.maxUnackedBytesTotal': '128MiB',
  'streams.<name>.deadLetters.maxBytes': '32MiB',
  'sinks.<name>.linger': '30s',
  'sinks.<name>.keepAlive': '30s',
  // The device waits for its ack.
  'spool.commitInterval': '20ms',
  // It writes nothing between the results.
  'log.level': 'warn',
}

/**
 * Types of sink that this Node cannot have, each with what a reload says: with the package, as on a
 * newer one, their keys are changed as all others.
 */
const NOT_TO_BE_HAD = new Map(
  Object.keys(SINK_TYPES).flatMap((type) =>
    (sinkTypeOf({ type } as SinkConfig).packages ?? []).flatMap(({ fault }) =>
      fault === null ? [] : [[type, fault] as const],
    ),
  ),
)

const TAKEOVER = /^cluster\.takeover\./

test('only the sink whose package no Node 20 can have is not to be had', () => {
  for (const [type, why] of NOT_TO_BE_HAD) {
    expect(type).toBe('kafka')
    expect(why).toMatch(/needs Node|is not installed/)
  }
})

describe('at a gateway that runs', () => {
  let bench: Bench
  beforeAll(async () => {
    bench = await Bench.start()
  })
  afterAll(() => bench.stop())
  test.each(rows(({ path }) => !TAKEOVER.test(path)))('%s is %s', async (_label, _effect, key) => {
    const why = NOT_TO_BE_HAD.get(typeOf(key))
    await (why === undefined ? bench.change(key) : bench.refuse(key, why))
  })
})

describe('at a gateway that tells others of its clients', () => {
  let bench: Bench
  beforeAll(async () => {
    const [first] = KEYS.filter(({ path }) => TAKEOVER.test(path))
    bench = await Bench.start(first && surroundingsOf(first, NAME))
  })
  afterAll(() => bench.stop())
  test.each(rows(({ path }) => TAKEOVER.test(path)))('%s is %s', (_label, _effect, key) =>
    bench.change(key),
  )
})

function rows(isOfGroup: (key: KeyDescription) => boolean) {
  return KEYS.filter(isOfGroup).map((key) => [labelOf(key), key.effect, key] as const)
}

function labelOf({ path, only }: KeyDescription): string {
  const choices: string[] = []
  for (let choice = only; choice !== null; choice = choice.outer) choices.unshift(choice.value)
  return [path, ...choices].join(' ')
}
