/**
 * What persistent sessions are kept costs the store no more than its bounds (I6), however many
 * sessions take a message.
 */
import { expect, test } from 'vitest'
import { ConsumerState } from '../../../gateway/broker/consumers/consumer-state.ts'
import { DeliveryOrder } from '../../../gateway/broker/consumers/delivery-order.ts'
import type { StagedCopies } from '../../../gateway/broker/sessions/session-copies.ts'
import { DEFAULTS } from '../harness.ts'
import { emptyContents, ManualCommits, storeOn } from './keyed-store.ts'

const LIMITS = {
  maxSubscriberMessages: 3,
  maxSubscriberBytes: 10_000,
  maxSubscriberBytesTotal: 20_000,
}
const SESSIONS = ['a', 'b', 'c', 'd', 'e', 'f']

async function sixSessions() {
  const contents = emptyContents()
  const commits = new ManualCommits()
  const store = storeOn(contents, commits)
  const limits = { ...DEFAULTS, ...LIMITS }
  const state = await ConsumerState.load(store, limits, new DeliveryOrder(), () => undefined)
  for (const id of SESSIONS) {
    const added = state.subscriptions.add(id, [{ topic: 'plant/#', qos: 1 }])
    commits.commit()
    await added
  }
  return {
    contents,
    commits,
    state,
    stage: (bytes: number): StagedCopies =>
      state.copies.stage({
        topic: 'plant/a',
        payload: Buffer.alloc(bytes),
        qos: 1,
        retain: false,
        from: 'device',
        options: null,
      })!,
    release: (staged: StagedCopies): void => state.copies.release(staged, () => {}),
  }
}

test('I6: of copies that wait for their commit the bound in total is stored; the others with the hand-over, as far as it goes', async () => {
  const { contents, commits, state, stage, release } = await sixSessions()
  const staged = [stage(4_500), stage(4_500)]
  expect(commits.pending, 'four of 4,707 bytes, of twelve').toBe(4)
  expect(staged.map(({ ticket }) => ticket > 0)).toEqual([true, false])
  commits.commit()
  for (const one of staged) release(one)
  expect(state.stats.queuedBytes).toBeLessThanOrEqual(LIMITS.maxSubscriberBytesTotal)
  commits.commit()
  // What the bound dropped is not stored, and nothing is that is not kept.
  expect(contents.copies.size).toBeLessThanOrEqual(state.stats.queuedMessages)
  expect(state.stats.queuedMessages).toBe(4)
  for (const id of SESSIONS) {
    const ended = state.discardSession(id)
    commits.commit()
    await ended
  }
  expect(contents.copies.size).toBe(0)
})

test('I6: a copy that no queue takes is not stored', async () => {
  const { contents, commits, stage, release } = await sixSessions()
  const staged = stage(10_000)
  expect([staged.ticket, commits.pending]).toEqual([0, 0])
  release(staged)
  commits.commit()
  expect(contents.copies.size).toBe(0)
})

test('a session that ends takes the copies with it whose message is not handed over, in the same commit', async () => {
  const { contents, commits, state, stage, release } = await sixSessions()
  const staged = stage(100)
  commits.commit()
  expect(contents.copies.size).toBe(6)
  const ended = state.discardSession('a')
  commits.commit()
  await ended
  expect(contents.copies.size).toBe(5)
  // It comes back, and is owed nothing from before.
  const added = state.subscriptions.add('a', [{ topic: '#', qos: 1 }])
  commits.commit()
  await added
  release(staged)
  expect(state.stats.queuedMessages).toBe(5)
})

test('a message that is not handed over leaves nothing behind', async () => {
  const { contents, commits, state, stage } = await sixSessions()
  const staged = stage(100)
  commits.commit()
  state.copies.unstage(staged)
  commits.commit()
  expect(contents.copies.size).toBe(0)
})
