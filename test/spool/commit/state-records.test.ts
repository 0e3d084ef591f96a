/**
 * Which state records a backlog keeps: of small commits they would take more of the disk than the
 * readings.
 */
import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { parseCommitKey } from '../../../gateway/spool/store/keys.ts'
import { type OpenStore, openStore } from '../../../gateway/spool/store/store.ts'
import { durable, lanes, message, openSpool, queueOf } from '../../support/spool-fixture.ts'
import { useFolder } from '../../support/spool-test.ts'

const COMMITS = 700

const folder = useFolder()

it.each([
  { what: 'small commits: go', textBytes: 100, isKept: false },
  {
    what: 'large commits: stay, or LevelDB would merge all tables',
    textBytes: 12_000,
    isKept: true,
  },
])('I6: the state records of a backlog of $what', async ({ textBytes, isKept }) => {
  const states = new Set<number>()
  const counting: OpenStore = async (path, options) => {
    const store = await openStore(path, options)
    const write = store.write.bind(store)
    store.write = async (ops) => {
      for (const { type, key } of ops) {
        const parsed = parseCommitKey(key)
        if (parsed?.kind !== 'state') continue
        if (type === 'put') states.add(parsed.commit)
        else states.delete(parsed.commit)
      }
      await write(ops)
    }
    return store
  }
  const { spool } = await openSpool(folder.path, { openStore: counting, ballastBytes: 4096 })
  const to = lanes(spool, 'd', 't')
  for (let n = 0; n < COMMITS; n++) {
    const text = randomBytes((textBytes * 3) / 4).toString('base64')
    await durable(spool, spool.appender.append(to, message(JSON.stringify({ n, text }))))
  }
  if (isKept) expect(states.size).toBeGreaterThanOrEqual(COMMITS)
  else expect(states.size).toBeLessThan(COMMITS / 2)
  expect(queueOf(spool).spool.view.counters.received).toBe(COMMITS)
  await spool.stop()

  const again = await openSpool(folder.path, { ballastBytes: 4096 })
  expect(queueOf(again.spool).spool.view.counters).toMatchObject({
    received: COMMITS,
    delivered: 0,
  })
  expect(queueOf(again.spool).spool.pendingRecords).toBe(COMMITS)
  await again.spool.stop()
})
