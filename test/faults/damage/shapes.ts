/**
 * Template spools for damages: one data folder per shape, made once, as a kill or a clean stop
 * leaves it, with what an undamaged gateway would make of it. Small on purpose: thousands of copies
 * are damaged in a campaign.
 */
import { copyFile, cp, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Random } from '../../../device-sim/random.ts'
import { errorCode } from '../../../gateway/shared/errors.ts'
import { OWNER_FILE, takeOwnership } from '../../../gateway/spool/disk/owner.ts'
import type { Spool } from '../../../gateway/spool/spool.ts'
import { type OpenStore, openStoreWith, type Store } from '../../../gateway/spool/store/store.ts'
import {
  durable,
  lanes,
  message,
  openSpool,
  pinNext,
  queueOf,
  SINK,
  STREAM,
  settleAll,
  unowned,
} from '../../support/spool-fixture.ts'

export const SHAPES = [
  'fresh',
  'backlog',
  'segments',
  'settled',
  'refused',
  'identities',
  'qos2',
  'checkpoint',
  'stopped',
] as const
export type Shape = (typeof SHAPES)[number]

export const BALLAST_BYTES = 4096
export const LEASE_AHEAD = 2_000
/** Small, so that few records make several tables. */
const WRITE_BUFFER_BYTES = 64 * 1024
const STREAMS = {
  telemetry: { ...STREAM, maxRecordBytes: 2_000 },
  alarms: { ...STREAM, topics: ['alarms/#'], priority: 1 },
}
/** Blocks of one record: an index of thousands. */
const TINY_SINK = { ...SINK, maxBatchRecords: 2 }

export const OPEN_OPTIONS = {
  streams: STREAMS,
  sinks: { cloud: SINK },
  takeOwnership,
  ballastBytes: BALLAST_BYTES,
  leaseAhead: LEASE_AHEAD,
} as const

export const smallStores: OpenStore = (folder, options) =>
  openStoreWith(folder, options, WRITE_BUFFER_BYTES)

/** As a kill leaves it: nothing is written any more, and the files are free. */
function killable(): { openStore: OpenStore; kill: () => Promise<void> } {
  let current: { store: Store; dead: boolean } | null = null
  return {
    openStore: async (folder, options) => {
      const handle = { store: await smallStores(folder, options), dead: false }
      current = handle
      const { store } = handle
      return {
        get: (key) => store.get(key),
        getMany: (keys) => store.getMany(keys),
        keys: (range) => store.keys(range),
        entries: (range) => store.entries(range),
        compact: (start, end) => store.compact(start, end),
        close: () => (handle.dead ? Promise.resolve() : store.close()),
        write: (ops) => (handle.dead ? new Promise(() => undefined) : store.write(ops)),
      }
    },
    kill: async () => {
      if (!current) return
      current.dead = true
      await current.store.close()
    },
  }
}

/** A journal as the broker's sessions are one: every change is a line of text. */
export class TextJournal {
  readonly name = 'sessions'
  lines: string[] = []
  #changes: string[] = []

  add(line: string): void {
    this.lines.push(line)
    this.#changes.push(line)
  }

  collect(): Uint8Array | null {
    const changes = this.#changes
    this.#changes = []
    return changes.length === 0 ? null : Buffer.from(changes.join('\n'))
  }

  checkpoint(): Uint8Array {
    return Buffer.from(this.lines.join('\n'))
  }
}

interface Maker {
  readonly random: Random
  readonly dataDir: string
  spool: Spool
  n: number
}

/** Text that deflate cannot shrink much. */
function noise(random: Random, bytes: number): string {
  let text = ''
  while (text.length < bytes) text += random.next().toString(36).slice(2)
  return text.slice(0, bytes)
}

async function append(
  maker: Maker,
  count: number,
  bytes: number,
  streams: readonly string[] = ['telemetry'],
): Promise<void> {
  const { spool, random } = maker
  const to = streams.map(
    (name) => [`${name}-device`, lanes(spool, `${name}-device`, `${name}/x`, [name])] as const,
  )
  let ticket = 0
  for (let i = 0; i < count; i++) {
    for (const [, lane] of to) {
      ticket = spool.appender.append(
        lane,
        message(JSON.stringify({ n: maker.n++, x: noise(random, bytes) })),
      )
    }
  }
  await durable(spool, ticket)
}

/** In commits of their own. */
async function appendCommits(
  maker: Maker,
  commits: number,
  count: number,
  bytes: number,
): Promise<void> {
  for (let i = 0; i < commits; i++) await append(maker, count, bytes)
}

async function settle(maker: Maker, batches: number, records: number): Promise<void> {
  for (let i = 0; i < batches; i++) {
    const queue = queueOf(maker.spool)
    const batch = await pinNext(queue, records)
    if (batch) await settleAll(queue, batch)
  }
}

async function refuse(maker: Maker, records: number, deadLetter: boolean): Promise<void> {
  const queue = queueOf(maker.spool)
  const batch = await pinNext(queue, records)
  if (!batch) return
  const seq = batch.seqs()[Math.floor(records / 2)] ?? batch.pin.firstSeq
  const refused = [{ seq, code: '422', reason: 'test', line: await batch.line(seq) }]
  const ripe = deadLetter
    ? queue.parked.filter((p) => p.spoolId === batch.pin.spoolId).map((p) => p.seq)
    : []
  await queue.settle({
    throughSeq: batch.pin.lastSeq,
    refused,
    deadLetter: ripe,
    gapsReported: true,
    keepOuterLastSeq: null,
  })
}

/** Ingest dead letters: too large for the stream. */
async function oversize(maker: Maker, count: number): Promise<void> {
  const to = lanes(maker.spool, 'big', 'telemetry/x', ['telemetry'])
  let ticket = 0
  for (let i = 0; i < count; i++)
    ticket = maker.spool.appender.append(to, message(noise(maker.random, 3_000)))
  await durable(maker.spool, ticket)
}

/**
 * What each shape has; `middle`: where the files are copied, to be brought back later as old
 * copies.
 */
const MAKERS: Readonly<
  Record<Shape, (maker: Maker, middle: () => Promise<void>) => Promise<void>>
> = {
  fresh: async (maker, middle) => {
    await append(maker, 3, 50)
    await middle()
    await append(maker, 5, 50)
  },
  backlog: async (maker, middle) => {
    await appendCommits(maker, 8, 40, 300)
    await middle()
    await appendCommits(maker, 16, 40, 300)
  },
  segments: async (maker, middle) => {
    await appendCommits(maker, 7, 330, 20)
    await middle()
    await settle(maker, 3, 60)
    await appendCommits(maker, 6, 330, 20)
  },
  settled: async (maker, middle) => {
    await appendCommits(maker, 8, 40, 300)
    await settle(maker, 3, 55)
    await middle()
    await appendCommits(maker, 6, 40, 300)
    await settle(maker, 2, 55)
    await pinNext(queueOf(maker.spool), 60)
  },
  refused: async (maker, middle) => {
    await appendCommits(maker, 8, 30, 300)
    await oversize(maker, 3)
    await refuse(maker, 20, true)
    await refuse(maker, 20, true)
    await middle()
    await refuse(maker, 20, true)
    await appendCommits(maker, 4, 30, 300)
    await refuse(maker, 20, false)
    await refuse(maker, 20, false)
    await queueOf(maker.spool).returnParked()
    await refuse(maker, 1, false)
    await refuse(maker, 21, false)
  },
  identities: async (maker, middle) => {
    await appendCommits(maker, 6, 30, 300)
    await refuse(maker, 20, false)
    await maker.spool.newId('test')
    await appendCommits(maker, 6, 30, 300)
    await middle()
    await settle(maker, 2, 40)
    await append(maker, 40, 200, ['telemetry', 'alarms'])
    await append(maker, 40, 200, ['telemetry', 'alarms'])
  },
  qos2: async (maker, middle) => {
    const journal = new TextJournal()
    maker.spool.appender.attach(journal)
    for (let i = 0; i < 30; i++) {
      journal.add(`add ${i}`)
      await append(maker, 10, 200)
      if (i === 10) await middle()
    }
  },
  checkpoint: async (maker, middle) => {
    for (let i = 0; i < 120; i++) {
      await append(maker, 6, 200)
      if (i % 3 === 0) await settle(maker, 1, 12)
      if (i === 60) await middle()
    }
  },
  stopped: async (maker, middle) => {
    await appendCommits(maker, 8, 40, 300)
    await settle(maker, 2, 55)
    await middle()
    await appendCommits(maker, 8, 40, 300)
    await refuse(maker, 20, false)
  },
}

/** Of a process that is gone. */
const GONE_OWNER = '{"pid":1,"startTicks":"1","bootId":"gone","since":"x","token":"t"}\n'

/**
 * Makes `<root>/<shape>/data`, and `<root>/<shape>/early` with the files as they were on the way.
 */
export async function makeShape(shape: Shape, root: string, seed: number): Promise<string> {
  const folder = join(root, shape)
  const dataDir = join(folder, 'data')
  await mkdir(dataDir, { recursive: true })
  const stores = killable()
  const sinks = { cloud: shape === 'segments' ? TINY_SINK : SINK }
  const options = { ...OPEN_OPTIONS, sinks, openStore: stores.openStore, takeOwnership: unowned }
  const { spool } = await openSpool(dataDir, options)
  const maker: Maker = { random: new Random(seed, shape), dataDir, spool, n: 1 }
  const early = join(folder, 'early')
  await MAKERS[shape](maker, () => copyOpen(dataDir, early))
  if (shape === 'stopped') await spool.stop()
  else await stores.kill()
  await (await takeOwnership(dataDir)).release()
  for (const left of [dataDir, early]) await writeFile(join(left, OWNER_FILE), GONE_OWNER)
  return folder
}

/** Of a folder in use: what LevelDB deletes meanwhile is not copied. */
async function copyOpen(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await copyOpen(source, target)
    else {
      await copyFile(source, target).catch((error: unknown) => {
        if (errorCode(error) !== 'ENOENT') throw error
      })
    }
  }
}

export async function copyShape(folder: string, target: string): Promise<void> {
  await cp(join(folder, 'data'), target, { recursive: true })
}
