/** The check after an unclean opening on a store that cannot be read for a while. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { SpoolEvent } from '../../gateway/spool/events.ts'
import { type OpenStore, openStore } from '../../gateway/spool/store/store.ts'
import { heldStores } from '../support/held-store.ts'
import { durable, lanes, message, openSpool, temporaryFolder } from '../support/spool-fixture.ts'

it('I7: begins again when a read fails, instead of ending the process or calling the spool verified', async () => {
  const folder = await temporaryFolder()
  const held = heldStores()
  const first = await openSpool(folder.path, { openStore: held.openStore, ballastBytes: 4096 })
  await durable(
    first.spool,
    first.spool.appender.append(lanes(first.spool, 'd', 't'), message('{"n":1}')),
  )
  await held.crash()

  let failures = 0
  const failingOnce: OpenStore = async (path, options) => {
    const store = await openStore(path, options)
    return {
      write: (ops) => store.write(ops),
      get: (key) => store.get(key),
      getMany: async (keys) => {
        if (failures++ === 0) throw new Error('Database is not open')
        return await store.getMany(keys)
      },
      keys: (range) => store.keys(range),
      entries: (range) => store.entries(range),
      compact: (start, end) => store.compact(start, end),
      close: () => store.close(),
    }
  }
  const { spool, events } = await openSpool(folder.path, {
    openStore: failingOnce,
    ballastBytes: 4096,
  })
  expect(spool.verifier.result).toBeNull()
  const verified = (): SpoolEvent | undefined =>
    events.find(({ type }) => type === 'spool.verified')
  while (verified() === undefined) await sleep(10)
  expect(failures, 'the fault fired').toBeGreaterThan(1)
  expect(verified()).toMatchObject({ blocks: 1, missing: 0 })
  await spool.stop()
  await folder.remove()
})
