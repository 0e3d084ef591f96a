/** The one list of a gateway's parts: its reverse is the stop, whatever becomes of single ones. */
import { expect, test } from 'vitest'
import { Parts } from '../gateway/parts.ts'

function recorded(parts: Parts, log: string[], name: string, fails = false): void {
  const step = (what: string) => async (leftMs: number) => {
    log.push(`${what} ${name}`)
    expect(leftMs).toBeLessThanOrEqual(1_000)
    if (fails) throw new Error(`${what} ${name} failed`)
  }
  parts.add({ finish: step('finish'), close: step('close') })
}

test('a stop lets each part finish in reverse order before any gives back what it holds', async () => {
  const parts = new Parts()
  const log: string[] = []
  for (const name of ['spool', 'admin', 'broker']) recorded(parts, log, name)
  await parts.stop(1_000)
  expect(log).toEqual([
    'finish broker',
    'finish admin',
    'finish spool',
    'close broker',
    'close admin',
    'close spool',
  ])
})

test('a part that fails keeps no other from its stop, and its error is told', async () => {
  const parts = new Parts()
  const log: string[] = []
  recorded(parts, log, 'spool')
  recorded(parts, log, 'broker', true)
  await expect(parts.stop(0)).rejects.toThrow('finish broker failed')
  expect(log).toHaveLength(4)
})
