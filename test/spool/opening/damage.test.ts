import { execFileSync } from 'node:child_process'
import { cp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Random } from '../../../device-sim/random.ts'
import { parseManifest, withoutLastChange } from '../../../gateway/spool/leveldb/manifest.ts'
import { prepareOpening } from '../../../gateway/spool/leveldb/opening-plan.ts'
import { RawScan } from '../../../gateway/spool/opening/raw-scan.ts'
import { lastCommitNumber } from '../../../gateway/spool/opening/recovery.ts'
import { stateKey } from '../../../gateway/spool/store/keys.ts'
import { openStore } from '../../../gateway/spool/store/store.ts'
import { pendingByCounters } from '../../../gateway/spool/stream/counters.ts'
import { heldStores } from '../../support/held-store.ts'
import {
  durable,
  gapsOf,
  lanes,
  linesOf,
  message,
  type OpenedSpool,
  openSpool,
  pinNext,
  queueOf,
  STREAM,
  settleAll,
  temporaryFolder,
} from '../../support/spool-fixture.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let dbDir: string
beforeEach(async () => {
  folder = await temporaryFolder()
  dbDir = join(folder.path, 'spool')
})
afterEach(async () => {
  await folder.remove()
})

const RECORDS = 18_000

/** A killed spool with several tables and a log. */
async function killedSpool(): Promise<void> {
  const stores = heldStores()
  const { spool } = await openSpool(folder.path, { openStore: stores.openStore })
  const to = lanes(spool, 'd', 't')
  const random = new Random('damage', 'noise')
  for (let n = 1; n <= RECORDS; ) {
    let ticket = 0
    for (let i = 0; i < 500; i++, n++) {
      const noise = Array.from({ length: 200 }, () => random.below(2 ** 31).toString(36)).join('')
      ticket = spool.appender.append(to, message(JSON.stringify({ n, noise })))
    }
    await durable(spool, ticket)
  }
  await stores.crash()
}

async function filesEnding(ending: string): Promise<string[]> {
  const names = (await readdir(dbDir)).filter((name) => name.endsWith(ending)).sort()
  return names.map((name) => join(dbDir, name))
}

/** The MANIFEST as it was before it named the table: a kill came while it was being written. */
async function unname(table: number): Promise<void> {
  const path = join(dbDir, (await readFile(join(dbDir, 'CURRENT'), 'latin1')).trim())
  let bytes: Uint8Array = await readFile(path)
  while (parseManifest(bytes).tables.has(table)) {
    const before = withoutLastChange(bytes)
    if (before === null) throw new Error(`the first change names table ${table}`)
    bytes = before.bytes
  }
  await writeFile(path, bytes)
}

/** Drains everything; returns the reading numbers, and the gaps that were reported. */
async function drain({ spool }: OpenedSpool): Promise<{ ns: number[]; gaps: string[] }> {
  const queue = queueOf(spool)
  const ns: number[] = []
  const gaps: string[] = []
  while (queue.pendingRecords > 0) {
    const batch = await pinNext(queue, 500)
    if (!batch) continue
    ns.push(...(await linesOf(batch)).map((l) => (l.payload as { n: number }).n))
    gaps.push(...(gapsOf(batch)?.split(', ') ?? []))
    await settleAll(queue, batch)
  }
  return { ns, gaps }
}

function verified(opened: OpenedSpool): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (opened.spool.verifier.result === null) return
      clearInterval(timer)
      resolve()
    }, 5)
  })
}

async function expectBalance(opened: OpenedSpool, delivered: readonly number[]): Promise<void> {
  const { counters } = queueOf(opened.spool).spool.view
  expect(new Set(delivered).size).toBe(delivered.length)
  expect(delivered).toEqual([...delivered].sort((a, b) => a - b))
  expect(counters.delivered).toBe(delivered.length)
  expect(counters.delivered + counters.dropped.corrupt).toBe(counters.received)
  expect(pendingByCounters(counters)).toBe(0)
}

describe('I7: a damaged spool starts and delivers what is undamaged', () => {
  it('when CURRENT is gone: everything is found by repair', async () => {
    await killedSpool()
    await rm(join(dbDir, 'CURRENT'))
    const opened = await openSpool(folder.path)
    expect(opened.spool.damage.join()).toContain('CURRENT')
    const { ns } = await drain(opened)
    expect(ns).toEqual(Array.from({ length: RECORDS }, (_, i) => i + 1))
    await expectBalance(opened, ns)
    await opened.spool.stop()
  })

  it('when pipes lie under the names of its files: they are moved away, and nobody waits for their writer', async () => {
    await killedSpool()
    const pipes = ['spool/999998.ldb', 'spool/999999.log', 'clean-stop', 'seq-lease.new']
    const paths = pipes.map((name) => join(folder.path, name))
    for (const path of paths) await rm(path, { force: true })
    execFileSync('mkfifo', paths)
    const opened = await openSpool(folder.path)
    expect(opened.spool.damage.join()).toContain('seq-lease.new was no file')
    const moved = [...(await readdir(dbDir)), ...(await readdir(folder.path))]
    expect(moved.filter((name) => /stray/.test(name))).toHaveLength(pipes.length)
    const { ns } = await drain(opened)
    expect(ns).toEqual(Array.from({ length: RECORDS }, (_, i) => i + 1))
    await expectBalance(opened, ns)
    await opened.spool.stop()
  })

  it('when a table is gone: its records are counted, reported as a gap, and no seq is used again', async () => {
    await killedSpool()
    const tables = await filesEnding('.ldb')
    expect(tables.length).toBeGreaterThan(2)
    await rm(tables[1] as string)
    const opened = await openSpool(folder.path)
    await verified(opened)
    const { ns, gaps } = await drain(opened)
    expect(ns.length).toBeLessThan(RECORDS)
    expect(ns.length).toBeGreaterThan(RECORDS / 4)
    await expectBalance(opened, ns)
    expect(gaps.join()).toContain('reason=corrupt')
    expect(
      opened.events.some((e) => e.type === 'spool.records-lost' || e.type === 'spool.damage'),
    ).toBe(true)
    const queue = queueOf(opened.spool)
    await durable(
      opened.spool,
      opened.spool.appender.append(lanes(opened.spool, 'd', 't'), message('{"n":0}')),
    )
    expect(queue.ahead(1)[0]?.firstSeq).toBeGreaterThan(RECORDS)
    expect((await readdir(join(folder.path, 'aside'))).length).toBeGreaterThan(0)
    await opened.spool.stop()
  })

  it('when bytes of a table were flipped: only the blocks that they hit are lost', async () => {
    await killedSpool()
    const tables = await filesEnding('.ldb')
    const path = tables[0] as string
    const bytes = await readFile(path)
    const at = Math.floor(bytes.length / 2)
    for (let i = 0; i < 50; i++) bytes[at + i] = (bytes[at + i] as number) ^ 0xff
    await writeFile(path, bytes)
    const opened = await openSpool(folder.path)
    await verified(opened)
    const { ns } = await drain(opened)
    expect(ns.length).toBeLessThan(RECORDS)
    expect(ns.length).toBeGreaterThan(RECORDS * 0.8)
    await expectBalance(opened, ns)
    await opened.spool.stop()
  })

  it('when the log is gone and the newest table lost its end: what is whole in that table is delivered', async () => {
    await killedSpool()
    for (const log of await filesEnding('.log')) await rm(log)
    const newest = (await filesEnding('.ldb')).at(-1) as string
    await truncate(newest, Math.floor((await stat(newest)).size / 2))
    const scan = await RawScan.of([dbDir])
    const whole = [...scan.blocks].reduce((sum, { header }) => sum + header.recordCount, 0)
    const inNewest = [...scan.blocks].filter(({ place }) => place.path === newest)
    expect(inNewest.length).toBeGreaterThan(0)

    const opened = await openSpool(folder.path)
    const { ns } = await drain(opened)
    expect(ns).toHaveLength(whole)
    await opened.spool.stop()
  })

  it('when the log is gone, and the table that was being made of it was not named yet and lost its end', async () => {
    await killedSpool()
    const newest = (await filesEnding('.ldb')).at(-1) as string
    await unname(Number(basename(newest, '.ldb')))
    for (const log of await filesEnding('.log')) await rm(log)
    await truncate(newest, Math.floor((await stat(newest)).size / 2))
    const scan = await RawScan.of([dbDir])
    const whole = [...scan.blocks].reduce((sum, { header }) => sum + header.recordCount, 0)
    expect([...scan.blocks].some(({ place }) => place.path === newest)).toBe(true)

    const opened = await openSpool(folder.path)
    const { ns } = await drain(opened)
    expect(ns).toHaveLength(whole)
    await opened.spool.stop()
  })

  it('when the log lost its end: what is missing behind the last readable commit becomes a gap', async () => {
    await killedSpool()
    const log = (await filesEnding('.log')).at(-1) as string
    await truncate(log, Math.floor((await stat(log)).size / 2))
    const opened = await openSpool(folder.path)
    const { ns } = await drain(opened)
    expect(ns).toEqual(Array.from({ length: ns.length }, (_, i) => i + 1))
    const { counters } = queueOf(opened.spool).spool.view
    expect(counters.delivered).toBe(ns.length)
    expect(pendingByCounters(counters)).toBe(0)
    const gap = queueOf(opened.spool).spool.state.nextSeq
    expect(gap).toBeGreaterThan(RECORDS)
    await opened.spool.stop()
  })

  it('when a state record in the chain is gone: the index is rebuilt from the blocks', async () => {
    await killedSpool()
    const store = await openStore(dbDir, { create: false })
    const last = await lastCommitNumber(store)
    await store.write([{ type: 'del', key: stateKey(last - 3) }])
    await store.close()
    const opened = await openSpool(folder.path)
    expect(opened.spool.damage.join()).toContain('rebuilt')
    const { ns } = await drain(opened)
    expect(ns).toEqual(Array.from({ length: RECORDS }, (_, i) => i + 1))
    await expectBalance(opened, ns)
    await opened.spool.stop()
  })

  it('when nothing but garbage is in the folder: it is kept aside, and an empty spool begins under a new id', async () => {
    await killedSpool()
    for (const name of await readdir(dbDir)) await writeFile(join(dbDir, name), 'garbage')
    const opened = await openSpool(folder.path)
    const { spool } = opened
    expect(spool.damage.length).toBeGreaterThan(0)
    await durable(spool, spool.appender.append(lanes(spool, 'd', 't'), message('{"n":1}')))
    const { ns } = await drain(opened)
    expect(ns).toEqual([1])
    await spool.stop()
  })

  it.each([
    ['had saved in a table', 0, [1, 2]],
    ['was saving in a table', 60, [1]],
  ])(
    'I1: a commit of a killed process that the next one %s when the power failed is no damage',
    async (_, missingBytes, expected) => {
      const stores = heldStores()
      const { spool } = await openSpool(folder.path, { openStore: stores.openStore })
      const to = lanes(spool, 'd', 't')
      await durable(spool, spool.appender.append(to, message('{"n":1}')))
      const log = (await filesEnding('.log'))[0] as string
      const { size } = await stat(log)
      await durable(spool, spool.appender.append(to, message('{"n":2}')))
      await stores.crash()
      const asKilled = join(folder.path, 'as-killed')
      await cp(dbDir, asKilled, { recursive: true })
      // The next process makes a table of the log, and a MANIFEST that names it; CURRENT's new
      // content is not durable yet.
      await prepareOpening(dbDir, join(folder.path, 'aside'))
      await (await openStore(dbDir, { create: false })).close()
      const table = (await filesEnding('.ldb'))[0] as string
      await truncate(table, (await stat(table)).size - missingBytes)
      await cp(asKilled, dbDir, { recursive: true })
      // Nor was the log's last commit, which it had read from the page cache.
      await truncate(log, size)

      const opened = await openSpool(folder.path)
      expect(opened.spool.damage).toEqual([])
      expect((await drain(opened)).ns).toEqual(expected)
      expect(queueOf(opened.spool).spool.view.counters.dropped.corrupt).toBe(0)
      await opened.spool.stop()
    },
  )

  it('when database and lease are gone, and only the ballast tells that there was a spool: it is said', async () => {
    await killedSpool()
    await rm(dbDir, { recursive: true })
    await rm(join(folder.path, 'seq-lease'))
    const { spool } = await openSpool(folder.path)
    expect(spool.damage.join()).toContain('the database is gone')
    await durable(spool, spool.appender.append(lanes(spool, 'd', 't'), message('{"n":1}')))
    await spool.stop()
    const { spool: next } = await openSpool(folder.path)
    expect(next.damage).toEqual([])
    await next.stop()
  })

  it('when the seq lease is lost: new records start under a fresh spool id, older ones drain first', async () => {
    await killedSpool()
    await rm(join(folder.path, 'seq-lease'))
    const opened = await openSpool(folder.path)
    const { spool } = opened
    const queue = queueOf(spool)
    const old = queue.ahead(1)[0]?.spoolId
    expect(spool.spoolId).not.toBe(old)
    await durable(
      spool,
      spool.appender.append(lanes(spool, 'd', 't'), message(`{"n":${RECORDS + 1}}`)),
    )
    const { ns } = await drain(opened)
    expect(ns).toEqual(Array.from({ length: RECORDS + 1 }, (_, i) => i + 1))
    expect(opened.events.some((e) => e.type === 'spool.identity-changed')).toBe(true)
    await spool.stop()
  })
})

it('I4, I5: a dead letter that is newer than the state counts, and its number is not dealt again', async () => {
  const own = await temporaryFolder()
  try {
    const streams = { telemetry: { ...STREAM, maxRecordBytes: 100 } }
    const { spool } = await openSpool(own.path, { streams, ballastBytes: 4096 })
    const to = lanes(spool, 'd', 't')
    await durable(spool, spool.appender.append(to, message(JSON.stringify({ x: 'x'.repeat(500) }))))
    const { state } = spool.streams.get('telemetry') as NonNullable<
      ReturnType<typeof spool.streams.get>
    >
    const after = structuredClone({ letters: state.deadLetters, counters: state.counters })
    expect(after.letters.ingest).toMatchObject({ count: 1, next: 2 })
    Object.assign(state.deadLetters.ingest, { next: 1, count: 0, bytes: 0 })
    const { deadLettered, received } = state.counters
    Object.assign(state.counters, { deadLettered: deadLettered - 1, received: received - 1 })
    await spool.deadLetters.reconcile()
    expect(state.deadLetters).toEqual(after.letters)
    expect(state.counters).toEqual(after.counters)
    await spool.stop()
  } finally {
    await own.remove()
  }
})
