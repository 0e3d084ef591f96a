/**
 * One after the other: a file system that hangs (a server of NFS that is gone) then holds one
 * thread of Node's pool, however many streams want to write. With several threads held the spool,
 * which shares the pool, could not commit. What hangs keeps everything behind it waiting.
 */
export class OneAtATime {
  #tail: Promise<unknown> = Promise.resolve()
  #waiting = 0

  get isBusy(): boolean {
    return this.#waiting > 0
  }

  async run<T>(job: () => Promise<T>): Promise<T> {
    this.#waiting++
    const done = this.#tail.then(job).finally(() => this.#waiting--)
    this.#tail = done.catch(() => undefined)
    return await done
  }

  /** Resolves when nothing is in progress or waits. */
  async idle(): Promise<void> {
    while (this.isBusy) await this.#tail
  }
}
