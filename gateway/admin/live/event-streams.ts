/**
 * `GET /api/events`: the gateway's state once a second, and its warnings as they come, as
 * server-sent events. Whoever comes has {@link RECENT} snapshots soon, so that he sees what moves:
 * the last ones of those who read already, or the first ones, which follow sooner. Each snapshot is
 * made and written as text once, whoever reads, and none while nobody does. Bounded (I6): so many
 * readers; one that does not keep up misses snapshots, and one that takes nothing for ten seconds,
 * or has too much waiting, is cut off: its browser comes back by itself. No comments keep a stream
 * alive: there is a snapshot each second.
 */
import type { ServerResponse } from 'node:http'
import { AdminError } from '../errors.ts'

/** Three consoles on each of some desks. */
export const MAX_EVENT_STREAMS = 16
const SNAPSHOT_INTERVAL_MS = 1_000
/** A rate needs two snapshots, a line of rates three. */
const RECENT = 3
/** Until there are so many. */
const FIRST_INTERVAL_MS = 200
/** Snapshots in a row that a reader may miss. */
const MAX_MISSED = 10
/** What may wait for a reader: some snapshots of a large gateway. */
const MAX_UNSENT_BYTES = 2 * 1024 * 1024

interface LiveSources {
  /** What a snapshot holds, ready for JSON. */
  snapshot(): Promise<object>
  /** Calls `listener` with each line of level warn and above, until the returned function is called. */
  follow(listener: (line: string) => void): () => void
  /** A snapshot could not be made: all streams ended. */
  onError(error: Error): void
}

interface Reader {
  readonly out: ServerResponse
  /** Is the login still good? */
  readonly mayStay: () => Promise<boolean>
  missed: number
}

export class EventStreams {
  readonly #sources: LiveSources
  readonly #readers = new Set<Reader>()
  #timer: NodeJS.Timeout | null = null
  #unfollow: (() => void) | null = null
  /** The last ones, for whoever comes before the next; none while nobody reads. */
  #recent: readonly string[] = []

  constructor(sources: LiveSources) {
    this.#sources = sources
  }

  /** @throws AdminError ADMIN_TOO_MANY_STREAMS */
  checkRoom(): void {
    if (this.#readers.size < MAX_EVENT_STREAMS) return
    throw new AdminError(
      'ADMIN_TOO_MANY_STREAMS',
      `${MAX_EVENT_STREAMS} event streams are open: close a console`,
    )
  }

  /** Writes to a response, whose head is sent, for as long as it is open. */
  attach(out: ServerResponse, mayStay: () => Promise<boolean>): void {
    const reader = { out, mayStay, missed: 0 }
    this.#readers.add(reader)
    out.once('close', () => this.#leave(reader))
    if (this.#unfollow === null) this.#begin()
    else if (this.#recent.length > 0) out.write(this.#recent.join(''))
  }

  /** Ends all streams. */
  close(): void {
    for (const reader of this.#readers) {
      reader.out.end()
      this.#leave(reader)
    }
  }

  #begin(): void {
    this.#unfollow = this.#sources.follow((line) => {
      const event = `event: log\ndata: ${line.trimEnd()}\n\n`
      for (const { out } of this.#readers) send(out, event)
    })
    void this.#tick()
  }

  #leave(reader: Reader): void {
    this.#readers.delete(reader)
    if (this.#readers.size > 0) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#unfollow?.()
    this.#timer = null
    this.#unfollow = null
    this.#recent = []
  }

  async #tick(): Promise<void> {
    const beganMs = performance.now()
    try {
      const snapshot = JSON.stringify(await this.#sources.snapshot())
      if (this.#readers.size === 0) return
      const event = `event: snapshot\ndata: ${snapshot}\n\n`
      this.#recent = [...this.#recent.slice(1 - RECENT), event]
      for (const reader of this.#readers) await this.#show(reader, event)
    } catch (error) {
      this.#sources.onError(error instanceof Error ? error : new Error(String(error)))
      this.close()
    }
    if (this.#readers.size === 0) return
    const intervalMs = this.#recent.length < RECENT ? FIRST_INTERVAL_MS : SNAPSHOT_INTERVAL_MS
    const leftMs = Math.max(0, intervalMs - (performance.now() - beganMs))
    this.#timer = setTimeout(() => void this.#tick(), leftMs)
  }

  async #show(reader: Reader, event: string): Promise<void> {
    const { out, mayStay } = reader
    if (!(await mayStay())) out.end()
    else if (out.writableLength === 0) {
      reader.missed = 0
      send(out, event)
    } else if (++reader.missed > MAX_MISSED) out.destroy()
  }
}

function send(out: ServerResponse, event: string): void {
  if (out.writableEnded || out.destroyed) return
  if (out.writableLength > MAX_UNSENT_BYTES) out.destroy()
  else out.write(event)
}
