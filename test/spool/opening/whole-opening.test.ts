/** What LevelDB leaves out without a word must not be taken for all there is (I1, I7). */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type OpenStore, openStore } from '../../../gateway/spool/store/store.ts'
import { heldStores } from '../../support/held-store.ts'
import {
  durable,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
} from '../../support/spool-fixture.ts'
import { appendReadings, useFolder } from '../../support/spool-test.ts'

const folder = useFolder()

/** As LevelDB with a log that it cannot open: it passes over the log, and deletes it. */
function forgetful(openings: number): {
  readonly openStore: OpenStore
  readonly forgot: () => number
} {
  let forgot = 0
  return {
    openStore: async (path, options) => {
      if (forgot < openings) {
        forgot++
        for (const name of await readdir(path))
          if (name.endsWith('.log')) await rm(join(path, name))
      }
      return await openStore(path, options)
    },
    forgot: () => forgot,
  }
}

async function writeSome(stop: 'stop' | 'crash'): Promise<void> {
  const stores = heldStores()
  const { spool } = await openSpool(folder.path, {
    openStore: stores.openStore,
    ballastBytes: 4096,
  })
  for (let n = 1; n <= 20; n++) await appendReadings(spool, n, 1)
  await (stop === 'stop' ? spool.stop() : stores.crash())
}

describe('I1, I7: a log that LevelDB left out at an opening is read at the next try', () => {
  it.each([
    ['a clean stop', 'stop', 1],
    ['a crash', 'crash', 2],
  ] as const)('after %s', async (_, stop, openings) => {
    await writeSome(stop)
    const { openStore, forgot } = forgetful(openings)
    const { spool } = await openSpool(folder.path, { openStore, ballastBytes: 4096 })
    expect(forgot(), 'the fault fired').toBe(openings)
    expect(spool.damage).toEqual([])
    const batch = await pinNext(queueOf(spool), 100)
    expect(batch && (await linesOf(batch)).map(({ payload }) => payload)).toEqual(
      Array.from({ length: 20 }, (_, i) => ({ n: i + 1 })),
    )
    await spool.stop()
  })

  it('after a rejected write', async () => {
    const stores = heldStores()
    let isForgetful = false
    const { openStore: forgetting, forgot } = forgetful(1)
    const { spool } = await openSpool(folder.path, {
      ballastBytes: 4096,
      openStore: async (path, options) => {
        if (!isForgetful) return await stores.openStore(path, options)
        return await forgetting(path, options)
      },
    })
    const to = lanes(spool, 'd', 't')
    for (let n = 1; n <= 20; n++)
      await durable(spool, spool.appender.append(to, message(`{"n":${n}}`)))
    isForgetful = true
    stores.failNext('before', Object.assign(new Error('EMFILE: x'), { code: 'EMFILE' }))
    await durable(spool, spool.appender.append(to, message('{"n":21}')))
    expect(forgot(), 'the fault fired').toBe(1)
    expect(spool.damage).toEqual([])
    expect(spool.streams.get('telemetry')?.state.counters.dropped.corrupt).toBe(0)
    const batch = await pinNext(queueOf(spool), 100)
    expect(batch && (await linesOf(batch))).toHaveLength(21)
    await spool.stop()
  })
})
