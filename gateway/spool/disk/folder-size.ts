/** The real size of the data folder, measured from time to time: status and metrics show it. */
import { folderBytes } from '../../shared/folder-bytes.ts'
import { Poller } from '../../shared/time/poller.ts'

const INTERVAL_MS = 10_000

export class FolderSize {
  /** As of the last look; one that failed leaves the one before. */
  bytes = 0
  readonly #folder: string
  #poller: Poller | null = null

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Looks once before it resolves. */
  static async watch(folder: string): Promise<FolderSize> {
    const size = new FolderSize(folder)
    await size.#look()
    size.#poller = new Poller(INTERVAL_MS, () => size.#look())
    return size
  }

  close(): void {
    this.#poller?.close()
  }

  async #look(): Promise<void> {
    this.bytes = await folderBytes(this.#folder).catch(() => this.bytes)
  }
}
