/**
 * Streams that hold records and that no configuration names any more. They keep their data (I8); an
 * operator may name a sink that drains one, which is noted durably until the stream is empty or
 * configured again.
 */
import type { NoteStore } from '../../ports/stream-queue.ts'
import type { SpoolQueue } from '../queue/queue.ts'

export class OrphanError extends Error {
  readonly code = 'SLUICE_NOT_ORPHANED'
}

export class Orphans {
  readonly #notes: NoteStore
  #queues: readonly SpoolQueue[] = []
  #sinks: readonly string[] = []

  constructor(queues: readonly SpoolQueue[], notes: NoteStore, sinks: readonly string[]) {
    this.#notes = notes
    this.reconfigure(queues, sinks)
  }

  /** All streams and sinks that there are from now on. */
  reconfigure(queues: readonly SpoolQueue[], sinks: readonly string[]): void {
    this.#queues = queues
    this.#sinks = sinks
    for (const queue of queues) {
      queue.sink = queue.spool.config?.sink ?? ''
      this.#restore(queue)
    }
  }

  /** A sink that was named before, if it is still there. */
  #restore(queue: SpoolQueue): void {
    const sink = this.#notes.get(noteKey(queue.stream))
    if (sink === null) return
    const { pendingRecords, parked, spool } = queue
    if (spool.config !== null || pendingRecords + parked.length === 0) {
      // Nobody waits for it: it rides with the next commit.
      this.#notes.set(noteKey(queue.stream), null).catch(() => undefined)
    } else if (this.#sinks.includes(sink)) queue.sink = sink
  }

  /**
   * Durable when it resolves. The queue, for the drain. @throws OrphanError with what to do instead
   */
  async drainTo(stream: string, sink: string): Promise<SpoolQueue> {
    const queue = this.#queues.find((each) => each.stream === stream)
    if (!queue) throw new OrphanError(`there is no stream ${stream}`)
    if (queue.spool.config !== null) {
      const own = queue.spool.config.sink
      throw new OrphanError(
        `stream ${stream} is in the configuration: its sink there is ${own}; change it there`,
      )
    }
    if (!this.#sinks.includes(sink)) {
      throw new OrphanError(`there is no sink ${sink}; sinks are: ${this.#sinks.join(', ')}`)
    }
    if (queue.sink !== '' && queue.sink !== sink) {
      throw new OrphanError(`stream ${stream} is being drained to ${queue.sink} already`)
    }
    await this.#notes.set(noteKey(stream), sink)
    queue.sink = sink
    return queue
  }
}

function noteKey(stream: string): string {
  return `streams/drain-to/${stream}`
}
