/** Power cuts under a real gateway, and planted defects that they must bring to light. */
import { readFileSync, rmSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { Random } from '../../../device-sim/random.ts'
import { dealSpeeches } from '../../support/levels.ts'
import { TYPE } from '../../support/raw-mqtt.ts'
import { SEED } from '../../support/seed.ts'
import { sourcePath } from '../../support/source-path.ts'
import { testWithTool } from '../../support/tool-tests.ts'
import { tryCut } from './campaign.ts'
import { booksFaults } from './check.ts'
import {
  DiskModel,
  differences,
  isWithoutContent,
  SURVIVALS,
  type Survival,
  snapshot,
} from './disk-model.ts'
import { dropTornEnd, type Entry, NoteWriter, readJournal } from './journal.ts'
import { PowerSink } from './power-sink.ts'
import {
  type Cut,
  chooseCut,
  RecordFolder,
  type Recording,
  type RecordOptions,
  record,
  stateAt,
} from './recording.ts'
import { newWorld } from './world.ts'

const seed = String(SEED)
const TIMEOUT_MS = 120_000
const CUTS = 20

interface Bench {
  readonly folder: RecordFolder
  readonly sink: PowerSink
  readonly random: Random
  readonly record: (
    options: Pick<RecordOptions, 'bytes'> & Partial<RecordOptions>,
  ) => Promise<Recording>
}

async function withBench(label: string, test: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = new RecordFolder()
  const sink = await PowerSink.start()
  const random = new Random(seed, label)
  const devices = [
    { name: 'press-1', qos: 1, seed },
    { name: 'press-2', qos: 2, seed },
    { name: 'press-3', qos: 2, seed },
  ] as const
  const world = newWorld(dealSpeeches(`${seed} ${label}`, devices))
  try {
    await test({
      folder,
      sink,
      random,
      record: (options) => record(folder, { sink, world, random, ...options }),
    })
  } catch (error) {
    console.error(`SLUICE_SEED=${SEED}`)
    throw error
  } finally {
    await sink.close()
    folder.remove()
  }
}

// The seed is in the title: where LevelDB ends the process, nothing else is left to tell it.
describe(`cuts under a real gateway (SLUICE_SEED=${SEED})`, () => {
  testWithTool(
    'gcc',
    'I1, I3, I4: at every cut point all that was acknowledged is there, QoS 2 once, and no seq is dealt twice',
    async () => {
      await withBench('cuts', async ({ folder, sink, random, record: begin }) => {
        const recording = await begin({ bytes: 8e6, killAt: [0.2] })
        const { entries } = recording
        const end = stateAt(recording, entries.length)
        const whole = join(folder.path, 'whole')
        end.disk.rebuild(whole, 'all', random)
        const [real, rebuilt] = [folder.disk, whole].map((path) => snapshot(path, isWithoutContent))
        expect(differences(real!, rebuilt!), 'the journal holds all that the process did').toEqual(
          [],
        )
        expect(createdBy(entries, /\d\.log$/), 'LevelDB began new logs under load').toBeGreaterThan(
          2,
        )
        expect(createdBy(entries, /\.ldb$/), 'and flushed tables').toBeGreaterThan(1)
        for (const { acked, name } of end.world.devices.values())
          expect(acked.size, name).toBeGreaterThan(50)

        for (let i = 0; i < CUTS; i++) {
          const cut = chooseCut(recording, random, [SURVIVALS[i % SURVIVALS.length]!])
          expect(await tryCut(recording, cut, folder, sink, random), told(cut)).toEqual([])
        }
      })
    },
    TIMEOUT_MS,
  )

  testWithTool(
    'gcc',
    'I1, I3: devices and sink go on where a cut has left them, and everything arrives, QoS 2 once',
    async () => {
      await withBench('chain', async ({ sink, random, record: begin }) => {
        const first = await begin({ bytes: 1e6 })
        const cut = { at: Math.floor(first.entries.length * 0.9), survival: 'none' } as const
        const { disk, world } = stateAt(first, cut.at)
        const next = new RecordFolder()
        try {
          disk.rebuild(next.disk, cut.survival, random)
          const second = await record(next, { sink, world, random, bytes: 5e5, drain: true })
          const end = stateAt(second, second.entries.length)
          const atSink = sink.storedAt(end.world)
          expect(booksFaults(end.world, atSink), told(cut)).toEqual([])
          for (const device of end.world.devices.values()) {
            const there = new Set(
              atSink.filter((one) => one.device === device.name).map(({ n }) => n),
            )
            expect(there.size, device.name).toBe(device.published)
          }
        } finally {
          next.remove()
        }
      })
    },
    TIMEOUT_MS,
  )

  testWithTool(
    'gcc',
    'I1: what a reopening after a failed fsync has found is acknowledged only once the name CURRENT is durable',
    async () => {
      await withBench('reopened', async ({ folder, sink, random, record: begin }) => {
        const recording = await begin({ bytes: 1e6, failingSyncs: ['.log', '.log'] })
        const { entries } = recording
        expect(recording.failedSyncs, 'the fault fired').toBe(2)
        const failures = entries.flatMap((one, i) =>
          one.type === 'sync-end' && one.failed ? [i] : [],
        )
        for (const failure of failures) {
          const ack = entries.findIndex(
            (one, i) => i > failure && one.type === 'sent' && one.bytes[0] === TYPE.PUBACK,
          )
          const { disk } = stateAt(recording, ack + 1)
          const [durable, seen] = (['none', 'all'] as const).map((survival) => {
            const target = join(folder.path, survival)
            disk.rebuild(target, survival, random)
            const current = readFileSync(join(target, 'data', 'spool', 'CURRENT'), 'utf8')
            rmSync(target, { recursive: true })
            return current
          })
          expect(durable).toBe(seen)
          for (const survival of SURVIVALS) {
            const cut = { at: ack + 1 + random.below(100), survival }
            expect(await tryCut(recording, cut, folder, sink, random), told(cut)).toEqual([])
          }
        }
      })
    },
    TIMEOUT_MS,
  )

  for (const [defect, file] of [
    ['batches are not synced', 'forget-sync.mjs'],
    ['folders are not synced', 'forget-folder-sync.mjs'],
  ] as const) {
    testWithTool(
      'gcc',
      `the cuts show a planted defect: ${defect}`,
      async () => {
        await withBench(file, async ({ folder, sink, random, record: begin }) => {
          const preload = pathToFileURL(sourcePath(`test/faults/power/${file}`)).href
          const recording = await begin({
            bytes: 1e6,
            env: { NODE_OPTIONS: `--import ${preload}` },
          })
          const faults: string[] = []
          for (let i = 1; i <= 3; i++) {
            const cut: Cut = {
              at: Math.floor((recording.entries.length * i) / 3),
              survival: 'none',
            }
            faults.push(...(await tryCut(recording, cut, folder, sink, random)))
          }
          expect(faults.some((one) => one.startsWith('I1: press-1: acknowledged and gone'))).toBe(
            true,
          )
          expect(faults.some((one) => one.startsWith('I1: press-2: acknowledged and gone'))).toBe(
            true,
          )
        })
      },
      TIMEOUT_MS,
    )
  }
})

it('a journal whose last entry a kill has torn goes on behind the whole ones', () => {
  const folder = new RecordFolder()
  try {
    const first = new NoteWriter(folder.journal)
    first.write({ t: 'first' })
    first.write({ t: 'torn', text: 'x'.repeat(5_000) })
    first.close()
    truncateSync(folder.journal, 4_096)
    dropTornEnd(folder.journal)
    const second = new NoteWriter(folder.journal)
    second.write({ t: 'second' })
    second.close()
    expect(readJournal(folder.journal)).toEqual([
      { type: 'note', note: { t: 'first' } },
      { type: 'note', note: { t: 'second' } },
    ])
  } finally {
    folder.remove()
  }
})

it('keeps of a file what was synced, and of the rest a torn part at most', () => {
  const bytes = (text: string): Buffer => Buffer.from(text)
  const entries: Entry[] = [
    { type: 'create', ino: 5n, isFolder: false, path: '/disk/a.new' },
    { type: 'write', ino: 5n, offset: 0, bytes: bytes('kept') },
    { type: 'sync-begin', id: 1n, ino: 5n },
    { type: 'write', ino: 5n, offset: 4, bytes: bytes('torn') },
    { type: 'sync-end', id: 1n, failed: false },
    { type: 'rename', from: '/disk/a.new', to: '/disk/a' },
    { type: 'sync-begin', id: 2n, ino: 1n },
    { type: 'sync-end', id: 2n, failed: false },
    { type: 'sync-begin', id: 3n, ino: 5n },
    { type: 'sync-end', id: 3n, failed: true },
    { type: 'write', ino: 5n, offset: 8, bytes: bytes('late') },
    { type: 'sync-begin', id: 4n, ino: 5n },
    { type: 'sync-end', id: 4n, failed: false },
  ]
  const folder = new RecordFolder()
  const random = new Random(seed, 'model')
  const at = (count: number, survival: Survival): Record<string, string> => {
    const model = new DiskModel('/disk', { ino: 1n, bytes: null, entries: new Map() })
    for (const entry of entries.slice(0, count)) model.apply(entry)
    const target = join(folder.path, 'target')
    model.rebuild(target, survival, random)
    const found = [...snapshot(target, () => false).entries].map(([name, file]) => [
      name,
      String(file.bytes),
    ])
    rmSync(target, { recursive: true })
    return Object.fromEntries(found) as Record<string, string>
  }
  try {
    expect(at(5, 'none'), 'the name is not durable').toEqual({})
    expect(at(5, 'all')).toEqual({ 'a.new': 'kepttorn' })
    expect(at(8, 'none'), 'written while the fsync ran').toEqual({ a: 'kept' })
    const torn = Array.from({ length: 40 }, () => at(8, 'some')['a'] ?? '')
    expect(new Set(torn).size).toBeGreaterThan(2)
    for (const one of torn) expect('kepttorn'.startsWith(one) && one.startsWith('kept')).toBe(true)
    expect(at(13, 'none'), 'what a failed fsync did not cover no later one does').toEqual({
      a: 'kept\0\0\0\0late',
    })
  } finally {
    folder.remove()
  }
})

function createdBy(entries: readonly Entry[], name: RegExp): number {
  return entries.filter((one) => one.type === 'create' && name.test(one.path)).length
}

function told({ at, survival }: Cut): string {
  return `SLUICE_SEED=${SEED}: cut at ${at}, ${survival} survives`
}
