import { expect, test } from 'vitest'
import type { Spool } from '../../../gateway/spool/spool.ts'
import { blockKey, FORMER_KEYED_RANGE, keyedKey } from '../../../gateway/spool/store/keys.ts'
import type { Op, Store } from '../../../gateway/spool/store/store.ts'
import { durable, openSpool } from '../../support/spool-fixture.ts'
import { useFolder } from '../../support/spool-test.ts'

const folder = useFolder()

const SPACES = ['retained', 'subscriptions', 'wills', 'copies'] as const
const NAMES = ['plant/press-7/temp', 'ü', '1']

async function valuesOf(spool: Spool): Promise<string[]> {
  const found: string[] = []
  for (const space of SPACES) {
    for (const [name, value] of await spool.appender.keyed(space).entries())
      found.push(`${space} ${name} ${Buffer.from(value).length}`)
  }
  return found.toSorted()
}

async function formerKeys(store: Store): Promise<Buffer[]> {
  const keys: Buffer[] = []
  for await (const key of store.keys(FORMER_KEYED_RANGE)) keys.push(key)
  return keys
}

/** As formats 1 and 2 had them: under 'k'. */
async function putBehind(store: Store, isMoved: (key: Buffer) => boolean): Promise<void> {
  const ops: Op[] = []
  for await (const [key, value] of store.entries({ gte: Buffer.from('a'), lt: Buffer.from('b') })) {
    if (!isMoved(key)) continue
    ops.push({ type: 'put', key: Buffer.concat([Buffer.from('k'), key.subarray(1)]), value })
    ops.push({ type: 'del', key })
  }
  expect(ops.length).toBeGreaterThan(0)
  await store.write(ops)
}

/** Values of more than one commit, and a note. */
async function fill(spool: Spool): Promise<string[]> {
  let ticket = 0
  for (const space of SPACES) {
    for (const [i, name] of NAMES.entries())
      ticket = spool.appender.keyed(space).put(name, Buffer.alloc(700_000 + i, space))
  }
  await durable(spool, ticket)
  await spool.notes.set('wait cloud', '17')
  return await valuesOf(spool)
}

test('keyed values lie before the blocks', () => {
  expect(Buffer.compare(keyedKey('copies', '￿'), blockKey(1, 0, 0))).toBeLessThan(0)
})

test.each([
  ['all of them', () => true],
  ['what a kill has left', (key: Buffer) => (key[1] ?? 0) % 2 === 1],
])('values that an earlier version put behind the blocks are moved: %s', async (_, isMoved) => {
  const first = await openSpool(folder.path)
  const before = await fill(first.spool)
  expect(before).toHaveLength(SPACES.length * NAMES.length)
  await putBehind(first.spool.committer.store, isMoved)
  await first.spool.stop()

  const { spool } = await openSpool(folder.path)
  expect(await formerKeys(spool.committer.store)).toEqual([])
  expect(await valuesOf(spool)).toEqual(before)
  expect(spool.notes.get('wait cloud')).toBe('17')
  await spool.stop()
})
