/**
 * Files whose content matters while the gateway runs: secrets, certificates. Each is read at the
 * start and again when its times, size or inode change (a mounted secret is a symbolic link that is
 * swapped: the target is what counts). I8: a file that is missing or half-written ends nothing;
 * what was read before stays in use. Not here: what the content means.
 */
import { readFileSync, statSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { errorCode, errorMessage } from '../../shared/errors.ts'
import { fileStamp } from '../../shared/files.ts'

/** Longest content that is taken, bytes: a certificate bundle has a few hundred KiB. */
const MAX_FILE_BYTES = 4 * 1024 * 1024

/** `same` also while it stays unreadable for the same reason. */
export type Refresh = 'same' | 'changed' | 'unreadable'

export class ReloadingFile {
  readonly path: string
  #content: Uint8Array | null = null
  #failure: string | null = null
  #stamp = ''

  /** Reads it once, synchronously: what is there at the start is there for the first request. */
  constructor(path: string) {
    this.path = path
    try {
      // The stamp is taken before the content: a change in between is seen at the next refresh.
      this.#stamp = fileStamp(statSync(path, { bigint: true }))
      this.#take(readFileSync(path))
    } catch (error) {
      this.#failure = failureOf(error)
    }
  }

  /** The last content that could be read, or null. */
  get content(): Uint8Array | null {
    return this.#content
  }

  /** Why it cannot be read now, in words; null: it can. */
  get failure(): string | null {
    return this.#failure
  }

  /** Looks whether it changed, and reads it then. Never rejects. */
  async refresh(): Promise<Refresh> {
    const failureBefore = this.#failure
    try {
      const stamp = fileStamp(await stat(this.path, { bigint: true }))
      if (stamp === this.#stamp && failureBefore === null) return 'same'
      const content = await readFile(this.path)
      this.#stamp = stamp
      const changed = this.#content === null || Buffer.compare(content, this.#content) !== 0
      this.#take(content)
      return changed ? 'changed' : 'same'
    } catch (error) {
      this.#failure = failureOf(error)
      return this.#failure === failureBefore ? 'same' : 'unreadable'
    }
  }

  #take(content: Uint8Array): void {
    if (content.length > MAX_FILE_BYTES) throw new Error(`has more than ${MAX_FILE_BYTES} bytes`)
    // Written in place, a file is empty for a moment; an empty secret or certificate is none
    // anyway.
    if (content.length === 0) throw new Error('is empty')
    this.#content = content
    this.#failure = null
  }
}

function failureOf(error: unknown): string {
  const code = errorCode(error)
  if (code === 'ENOENT') return 'is not there (ENOENT)'
  if (code === 'EACCES') return 'may not be read by this user (EACCES)'
  if (code === 'EISDIR') return 'is a folder (EISDIR)'
  return errorMessage(error)
}
