import { appendFileSync } from 'node:fs'
import { rename, rm, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { FileWatch } from '../../gateway/shared/file-watch.ts'
import { temporaryFolder } from '../broker/listeners/listener-fixture.ts'

const POLL_MS = 20

async function watched(): Promise<{
  path: string
  changes: () => number
  changed: (count: number) => Promise<void>
}> {
  const path = join(await temporaryFolder(), 'file')
  await writeFile(path, 'one')
  let changes = 0
  const onChange = async (): Promise<void> => {
    changes += 1
    return Promise.resolve()
  }
  const watch = new FileWatch([path, `${path}.2`], onChange, POLL_MS)
  onTestFinished(() => watch.close())
  const changed = async (count: number): Promise<void> => {
    await expect.poll(() => changes, { interval: 5, timeout: 5_000 }).toBe(count)
  }
  return { path, changes: () => changes, changed }
}

describe('watching files', () => {
  test('notices new content, a replacement of the same size and time, a removal, a file that appears', async () => {
    const { changed, path } = await watched()
    await writeFile(path, 'two')
    await changed(1)
    const time = new Date(1_000_000)
    await utimes(path, time, time)
    await changed(2)
    await writeFile(`${path}.new`, 'six')
    await utimes(`${path}.new`, time, time)
    await rename(`${path}.new`, path)
    await changed(3)
    await rm(path)
    await changed(4)
    await writeFile(`${path}.2`, 'second')
    await changed(5)
  })

  test('waits until a file is no longer being written, and then speaks once', async () => {
    const { changed, changes, path } = await watched()
    for (let i = 0; i < 30; i += 1) {
      // Not in the thread pool: a disk that stalls there leaves the file as it is for more than two
      // looks.
      appendFileSync(path, 'more')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await changed(1)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS * 4))
    expect(changes()).toBe(1)
  })

  test('asks again at each look until everything could be read', async () => {
    const path = join(await temporaryFolder(), 'file')
    await writeFile(path, 'one')
    let rounds = 0
    const { promise, resolve } = withResolvers()
    const watch = new FileWatch(
      [path],
      async () => {
        rounds += 1
        if (rounds < 3) return Promise.resolve('again')
        return resolve()
      },
      POLL_MS,
    )
    onTestFinished(() => watch.close())
    await writeFile(path, 'two')
    await promise
    expect(rounds).toBe(3)
  })
})

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined
  const promise = new Promise<void>((done) => {
    resolve = done
  })
  return { promise, resolve }
}
