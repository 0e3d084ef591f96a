/**
 * After an unclean opening: are all blocks between heads and next seqs there (I7)? Runs in the
 * background, a few blocks at a time; what is missing is looked for in the files kept aside, else
 * counted as lost. Then the links may go.
 */

import { judgeDiskError } from '../disk/disk-errors.ts'
import type { EmitSpoolEvent } from '../events.ts'
import type { OpenedFolder } from '../opening/opened-folder.ts'
import { blockName, isBlock } from '../queue/block-check.ts'
import type { BlockReader } from '../queue/block-reader.ts'
import { blockKey } from '../store/keys.ts'
import type { BlockMeta } from '../stream/block-index.ts'
import type { OpenCommit, SpoolStream } from '../stream/stream.ts'

/** Blocks read at a time. */
const BATCH_BLOCKS = 64
/** Pause after a read that failed. */
const RETRY_MS = 1_000

export class Verifier {
  /** null: it still runs. */
  result: boolean | null = null
  readonly #streams: ReadonlyMap<string, SpoolStream>
  readonly #reader: BlockReader
  readonly #commit: OpenCommit
  readonly #folder: OpenedFolder
  readonly #emit: EmitSpoolEvent
  #running: Promise<void> | null = null
  #stopped = false
  #wake: () => void = () => undefined
  /** Over all calls: one that was cut off by a failing store has counted some already. */
  #missing = 0

  constructor(options: {
    streams: ReadonlyMap<string, SpoolStream>
    reader: BlockReader
    commit: OpenCommit
    folder: OpenedFolder
    emit: EmitSpoolEvent
  }) {
    this.#streams = options.streams
    this.#reader = options.reader
    this.#commit = options.commit
    this.#folder = options.folder
    this.#emit = options.emit
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake()
    await this.#running
  }

  async #run(): Promise<void> {
    const began = performance.now()
    const blocks = this.#folder.clean ? 0 : await this.#verifyPatiently()
    if (this.#stopped) return
    const missing = this.#missing
    this.result = missing === 0
    try {
      await this.#folder.verified(missing === 0)
    } catch (error) {
      // They cost room, not records: the next opening finds them as links of an earlier one. What
      // the disk could not do is no damage.
      if (judgeDiskError(error) === null) {
        const what = `links kept aside could not be put away: ${String(error)}`
        this.#emit({ type: 'spool.damage', what, kept: null })
      }
    }
    this.#emit({
      type: 'spool.verified',
      blocks,
      missing,
      durationMs: Math.round(performance.now() - began),
    })
  }

  /**
   * A store that is being reopened (a full disk, an I/O error) cannot be read for a while: begins
   * again then.
   */
  async #verifyPatiently(): Promise<number> {
    for (;;) {
      try {
        return (await this.verifyAll()).blocks
      } catch {
        if (this.#stopped) return 0
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, RETRY_MS)
          this.#wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
    }
  }

  /** Reads every pending block, salvages or counts what is missing. */
  async verifyAll(): Promise<{ readonly blocks: number; readonly missing: number }> {
    let blocks = 0
    let missing = 0
    for (const stream of this.#streams.values()) {
      const found = await this.#verifyStream(stream)
      blocks += found.blocks
      missing += found.missing
    }
    return { blocks, missing }
  }

  /**
   * Only what was there at the opening: what came since is in memory and in the log of this
   * process.
   */
  async #verifyStream(stream: SpoolStream): Promise<{ blocks: number; missing: number }> {
    const end = stream.index.nextOrdinal
    let blocks = 0
    let missing = 0
    for (let at = stream.state.head.ordinal; at < end && !this.#stopped; at += BATCH_BLOCKS) {
      const ordinals: number[] = []
      for (
        let ordinal = Math.max(at, stream.state.head.ordinal);
        ordinal < Math.min(at + BATCH_BLOCKS, end);
        ordinal++
      ) {
        if (stream.index.missingAt(ordinal)) await stream.loadSegment(this.#reader, ordinal)
        if (stream.index.at(ordinal)) ordinals.push(ordinal)
      }
      const metas = ordinals.map((ordinal) => stream.index.at(ordinal))
      const keys = metas.map((m) => blockKey(m?.commit ?? 0, stream.state.id, m?.index ?? 0))
      const values = await this.#reader.readMany(keys)
      for (const [i, value] of values.entries()) {
        const meta = metas[i]
        if (!meta) continue
        blocks++
        if (isBlock(value, blockName(stream.state, meta))) continue
        missing += await this.#heal(stream, ordinals[i] as number, meta, keys[i] as Buffer)
      }
    }
    return { blocks, missing }
  }

  /**
   * Writes a block again that was found in the files; else it is lost. Returns 1 if it was still
   * needed.
   */
  async #heal(stream: SpoolStream, ordinal: number, meta: BlockMeta, key: Buffer): Promise<number> {
    const needed = (): boolean =>
      stream.index.at(ordinal) === meta && isStillPending(stream, ordinal)
    if (!needed()) return 0
    const salvaged = await this.#reader.salvage(blockName(stream.state, meta))
    if (!needed()) return 0
    this.#missing++
    if (salvaged) {
      this.#commit.add({ type: 'put', key, value: salvaged })
      await this.#commit.durable(stream)
      // A pinned block that is lost is found by its load, which dissolves the pin.
    } else if (!isPinned(stream, ordinal)) this.#reader.lost(stream, ordinal, meta)
    return 1
  }
}

function isStillPending({ state }: SpoolStream, ordinal: number): boolean {
  return (
    ordinal >= state.head.ordinal &&
    !state.skips.some(([from, to]) => ordinal >= from && ordinal < to)
  )
}

function isPinned({ state }: SpoolStream, ordinal: number): boolean {
  return state.pin !== null && ordinal <= state.head.ordinal + state.pin.recordCount
}
