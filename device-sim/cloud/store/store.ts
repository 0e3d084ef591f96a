/**
 * The reference sink's folder: one subfolder per queue, `<gateway>/<spool>/<stream>/`. Opens queues
 * when they are first spoken of, all of them at the start; reads everything back for `verify`. One
 * process owns a folder.
 */
import { mkdir, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { GapNote } from './gap-ledger.ts'
import { Queue, readNotes } from './queue.ts'
import { type QueueName, readLines, type SegmentOptions } from './segments.ts'

/** One stored record: its line exactly as it came, without LF. */
interface StoredLine extends QueueName {
  readonly line: Buffer
}

interface StoredNote extends QueueName {
  readonly note: GapNote
}

export class Store {
  readonly dir: string
  readonly #options: SegmentOptions
  readonly #queues = new Map<string, Promise<Queue>>()
  readonly #opened: Queue[] = []

  private constructor(dir: string, options: SegmentOptions) {
    this.dir = dir
    this.#options = options
  }

  /** Creates the folder if need be and opens every queue in it. */
  static async open(dir: string, options: SegmentOptions): Promise<Store> {
    const store = new Store(resolve(dir), options)
    await mkdir(store.dir, { recursive: true })
    for (const name of await listQueues(store.dir)) await store.queue(name)
    return store
  }

  /** Those that are open, in order of opening. */
  get queues(): readonly Queue[] {
    return this.#opened
  }

  async queue(name: QueueName): Promise<Queue> {
    const key = `${name.gateway}/${name.spool}/${name.stream}`
    let opening = this.#queues.get(key)
    if (opening === undefined) {
      const { gateway, spool, stream } = name
      opening = Queue.open(this.dir, { gateway, spool, stream }, this.#options).then((queue) => {
        this.#opened.push(queue)
        return queue
      })
      this.#queues.set(key, opening)
      // A queue that could not be opened is tried again by the next request.
      opening.catch(() => this.#queues.delete(key))
    }
    return opening
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((queue) => queue.close()))
  }
}

/** Queues that have a folder, sorted by name. */
async function listQueues(dir: string): Promise<QueueName[]> {
  const names: QueueName[] = []
  for (const gateway of await subfolders(dir)) {
    for (const spool of await subfolders(join(dir, gateway))) {
      for (const stream of await subfolders(join(dir, gateway, spool)))
        names.push({ gateway, spool, stream })
    }
  }
  return names
}

/**
 * Every stored line of a cloud's folder, queue by queue, in order of seq; for `verify`. May run
 * beside a cloud that is still storing: it then gives what was there when it came by. A folder that
 * does not exist holds nothing.
 */
export async function* readStore(dir: string): AsyncGenerator<StoredLine, void, undefined> {
  for (const name of await listQueues(resolve(dir))) {
    for await (const line of readLines(resolve(dir), name)) yield { ...name, line }
  }
}

/**
 * Gaps that were reported, holes that were noticed, alarms that were raised, queue by queue, as
 * they came.
 */
export async function readStoreNotes(dir: string): Promise<StoredNote[]> {
  const all: StoredNote[] = []
  for (const name of await listQueues(resolve(dir))) {
    for (const note of await readNotes(resolve(dir), name)) all.push({ ...name, note })
  }
  return all
}

async function subfolders(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return []
      throw error
    },
  )
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort()
}
