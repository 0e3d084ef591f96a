/** Rounds of looking: one at a time, and none after close. */
import { expect, onTestFinished, test } from 'vitest'
import { Poller } from '../../../gateway/shared/time/poller.ts'

test('the next round begins only after the last one is done, however long that takes', async () => {
  let running = 0
  let most = 0
  let rounds = 0
  const poller = new Poller(1, async () => {
    running += 1
    most = Math.max(most, running)
    await new Promise((resolve) => setTimeout(resolve, 10))
    running -= 1
    rounds += 1
  })
  onTestFinished(() => poller.close())
  await expect.poll(() => rounds, { interval: 1 }).toBeGreaterThan(3)
  expect(most).toBe(1)
})

test('a poller that is closed while it looks begins no further round', async () => {
  let rounds = 0
  let end = (): void => {}
  const poller = new Poller(1, async () => {
    rounds += 1
    await new Promise<void>((resolve) => {
      end = resolve
    })
  })
  await expect.poll(() => rounds, { interval: 1 }).toBe(1)
  poller.close()
  end()
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(rounds).toBe(1)
})
