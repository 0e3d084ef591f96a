/**
 * Takes the jobs in their order, `atOnce` of them at a time: most of a fault campaign is waiting.
 */
export async function sideBySide<T>(
  atOnce: number,
  jobs: Iterable<T>,
  run: (job: T) => Promise<void>,
): Promise<void> {
  const left = jobs[Symbol.iterator]()
  const work = async (): Promise<void> => {
    for (let next = left.next(); !next.done; next = left.next()) await run(next.value)
  }
  await Promise.all(Array.from({ length: atOnce }, work))
}
