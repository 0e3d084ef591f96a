/**
 * A backlog that each run of the sinks begins with: a spool that was filled once and is copied, and
 * the batches that a gateway makes of it, for those that send without one.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { drained } from '../load.ts'
import { fillBacklog, pending } from '../measures.ts'
import { type System, startSluice } from '../systems.ts'

/** Sends nothing and pins nothing: a batch that would be full does not come. */
const WAITING_SINK = {
  type: 'http',
  url: 'http://127.0.0.1:1/',
  linger: '1h',
  maxBatchRecords: 1_000_000,
  maxBatchBytes: '256MiB',
}
/** Of some 370 bytes each, as lines: less than a batch of the sink that waits. */
const MAX_RECORDS = 700_000
const DATA = 'data'
const BATCHES = 'batches'

export class Backlog {
  /** Its batches as gzip files of NDJSON, by their names in order. */
  readonly batches: string
  readonly #folder: string
  #records = 0

  private constructor(folder: string) {
    this.#folder = folder
    this.batches = join(folder, BATCHES)
  }

  static async make(records: number, seed: number): Promise<Backlog> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-sinks-'))
    const backlog = new Backlog(folder)
    try {
      const system = await startSluice({ folder, sink: WAITING_SINK })
      await stopped(system, async () => {
        await fillBacklog(system, records, seed)
        backlog.#records = await pending(system)
        if (backlog.#records > MAX_RECORDS) throw new Error(`${backlog.#records} fill a batch`)
      })
      await backlog.#writeBatches()
      return backlog
    } catch (error) {
      backlog.remove()
      throw error
    }
  }

  get records(): number {
    return this.#records
  }

  /** A folder of a gateway that has all of it in its spool, until `use` ends. */
  async withCopy<T>(use: (folder: string) => Promise<T>): Promise<T> {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-sinks-'))
    try {
      cpSync(join(this.#folder, DATA), join(folder, DATA), { recursive: true })
      return await use(folder)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #writeBatches(): Promise<void> {
    await this.withCopy(async (copy) => {
      const folder = join(copy, BATCHES)
      mkdirSync(folder)
      const sink = { type: 'file', folder, linger: '0s', minFreeBytes: 0 }
      const system = await startSluice({ folder: copy, sink })
      await stopped(system, () => drained(system))
      for (const name of readdirSync(folder)) {
        if (!name.endsWith('.ndjson.gz')) rmSync(join(folder, name), { recursive: true })
      }
      renameSync(folder, this.batches)
    })
  }
}

async function stopped(system: System, use: () => Promise<unknown>): Promise<void> {
  try {
    await use()
  } finally {
    await system.stop()
  }
}
