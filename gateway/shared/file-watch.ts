/**
 * Notices that files changed, by asking for their state: `fs.watch` misses changes on network and
 * overlay file systems and on files that are replaced by renaming, which is how certificates are
 * renewed.
 *
 * A change is reported once the state was the same at two looks in a row, so that a file being
 * written, or a certificate whose key comes a moment later, is read when it is complete.
 */
import { stat } from 'node:fs/promises'
import { errorCode } from './errors.ts'
import { fileStamp } from './files.ts'
import { Poller } from './poller.ts'

/** Time between two looks, ms. A renewed certificate is in use two looks later. */
export const FILE_POLL_INTERVAL_MS = 1_000

export class FileWatch {
  readonly #paths: readonly string[]
  readonly #onChange: () => Promise<void>
  readonly #poller: Poller
  #seen: string
  #changed = false
  #isClosed = false

  private constructor(
    paths: readonly string[],
    seen: string,
    onChange: () => Promise<void>,
    pollMs: number,
  ) {
    this.#paths = paths
    this.#seen = seen
    this.#onChange = onChange
    this.#poller = new Poller(pollMs, () => this.#look())
  }

  /**
   * Notes the present state, then watches. Open it before reading the files: a change in between is
   * reported.
   * `onChange` must not reject; no look happens while it runs.
   */
  static async open(
    paths: readonly string[],
    onChange: () => Promise<void>,
    pollMs = FILE_POLL_INTERVAL_MS,
  ): Promise<FileWatch> {
    return new FileWatch(paths, await stampsOf(paths), onChange, pollMs)
  }

  close(): void {
    this.#isClosed = true
    this.#poller.close()
  }

  async #look(): Promise<void> {
    const now = await stampsOf(this.#paths)
    if (now !== this.#seen) {
      this.#seen = now
      this.#changed = true
    } else if (this.#changed && !this.#isClosed) {
      this.#changed = false
      await this.#onChange()
    }
  }
}

/** A file that is missing or may not be looked at is a state, too. */
async function stampsOf(paths: readonly string[]): Promise<string> {
  const stamps = paths.map(async (path) => {
    try {
      return fileStamp(await stat(path, { bigint: true }))
    } catch (error) {
      return errorCode(error) ?? 'unknown'
    }
  })
  return (await Promise.all(stamps)).join('\n')
}
