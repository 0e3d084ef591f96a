/**
 * Notices that files changed, by asking for their state: `fs.watch` misses changes on network and
 * overlay file systems and on files that are replaced by renaming, which is how certificates are
 * renewed.
 *
 * A change is reported once the state was the same at two looks in a row, so that a file being
 * written, or a certificate whose key comes a moment later, is read when it is complete.
 */
import { statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { errorCode } from './errors.ts'
import { fileStamp } from './files.ts'
import { Poller } from './time/poller.ts'

/** Time between two looks, ms. A renewed certificate is in use two looks later. */
export const FILE_POLL_INTERVAL_MS = 1_000

/** `again`: not everything could be read, so it is called at the next look as well. */
type Reread = () => Promise<'again' | void>

export class FileWatch {
  readonly #paths: readonly string[]
  readonly #onChange: Reread
  readonly #poller: Poller
  #seen: string
  #changed = false
  #isClosed = false

  /**
   * Notes the present state, then watches. Make it before the files are read: a change in between
   * is reported. `onChange` must not reject; no look happens while it runs.
   */
  constructor(paths: readonly string[], onChange: Reread, pollMs = FILE_POLL_INTERVAL_MS) {
    this.#paths = paths
    this.#onChange = onChange
    this.#seen = paths.map(stampNow).join('\n')
    this.#poller = new Poller(pollMs, () => this.#look())
  }

  close(): void {
    this.#isClosed = true
    this.#poller.close()
  }

  async #look(): Promise<void> {
    const now = (await Promise.all(this.#paths.map(stampOf))).join('\n')
    if (now !== this.#seen) {
      this.#seen = now
      this.#changed = true
    } else if (this.#changed && !this.#isClosed) {
      this.#changed = (await this.#onChange()) === 'again'
    }
  }
}

/** A file that is missing or may not be looked at is a state, too. */
async function stampOf(path: string): Promise<string> {
  try {
    return fileStamp(await stat(path, { bigint: true }))
  } catch (error) {
    return errorCode(error) ?? 'unknown'
  }
}

function stampNow(path: string): string {
  try {
    return fileStamp(statSync(path, { bigint: true }))
  } catch (error) {
    return errorCode(error) ?? 'unknown'
  }
}
