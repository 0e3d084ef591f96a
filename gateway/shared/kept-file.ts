/**
 * A file whose last usable content stays in use: certificates, secrets. One that is missing or
 * half-written ends nothing (I8). Not here: when it changed (file-watch.ts), what the content means.
 */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { errorCode, errorMessage } from './errors.ts'

/** Longest content that is taken, bytes: a certificate bundle has a few hundred KiB. */
const MAX_FILE_BYTES = 4 * 1024 * 1024

/** `same` also while it stays unreadable for the same reason. */
type Refresh = 'same' | 'changed' | 'unreadable'

export class KeptFile {
  readonly path: string
  #content: Uint8Array | null = null
  #failure: string | null = null

  /** Reads it once, synchronously: what is there at the start is there for the first request. */
  constructor(path: string) {
    this.path = path
    try {
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

  /** Reads it again. Never rejects. */
  async refresh(): Promise<Refresh> {
    const failureBefore = this.#failure
    try {
      const content = await readFile(this.path)
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
