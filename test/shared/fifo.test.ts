import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Fifo } from '../../gateway/shared/fifo.ts'

interface Item {
  readonly n: number
  readonly expendable: boolean
}

/** What is done to the queue, in runs long enough for places to be given back. */
const step = fc.record({
  what: fc.constantFrom('push', 'push expendable', 'shift', 'shift expendable'),
  times: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 500, max: 3_000 })),
})

test('it does what a plain list does, through every mixture of steps', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const fifo = new Fifo<Item>(({ expendable }) => expendable)
      let list: Item[] = []
      let n = 0
      for (const { what, times } of steps) {
        for (let i = 0; i < times; i += 1) {
          if (what.startsWith('push')) {
            const item = { n: (n += 1), expendable: what === 'push expendable' }
            fifo.push(item)
            list.push(item)
          } else if (what === 'shift') {
            expect(fifo.shift()).toBe(list.shift() ?? null)
            if (list.length === 0) break
          } else {
            const at = list.findIndex(({ expendable }) => expendable)
            expect(fifo.shiftExpendable()).toBe(list[at] ?? null)
            if (at < 0) break
            list.splice(at, 1)
          }
        }
        expect(fifo.length).toBe(list.length)
        expect(fifo.first).toBe(list[0] ?? null)
        expect(fifo.expendable).toBe(list.filter(({ expendable }) => expendable).length)
        expect([...fifo]).toEqual(list)
      }
      fifo.clear()
      list = []
      expect([fifo.length, fifo.expendable, fifo.first, [...fifo]]).toEqual([0, 0, null, list])
    }),
    { numRuns: 100 },
  )
})

test('a queue that is never empty costs no more per item, however many have passed', () => {
  const fifo = new Fifo<Item>()
  for (let n = 0; n < 100; n += 1) fifo.push({ n, expendable: false })
  for (let n = 100; n < 1_000_000; n += 1) {
    fifo.push({ n, expendable: false })
    expect(fifo.shift()?.n === n - 100).toBe(true)
  }
  expect(fifo.length).toBe(100)
})
