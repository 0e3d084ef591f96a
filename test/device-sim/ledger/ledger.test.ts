import { appendFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Ledger, readLedger } from '../../../device-sim/ledger/ledger.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-ledger-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('ledger', () => {
  test('the file gives back what memory had, entry by entry', async () => {
    const path = join(folder, 'ledger.ndjson')
    const ledger = new Ledger(path, '7', new Date(0))
    for (let n = 1; n <= 3; n++) {
      for (const device of ['a', 'b'])
        ledger.publish(device, n, n === 2 ? 2 : 1, Buffer.from(`${device}${n}`), n)
    }
    ledger.ack('a', 1, 20)
    ledger.ack('a', 1, 30)
    ledger.ack('b', 0, 21)
    ledger.refuse('b', 2, 0x97, 22)
    ledger.refuse('a', 1, 0x97, 23)
    ledger.sendAnew('a', 2)
    expect(ledger.published).toEqual([0, 4, 2])
    expect(ledger.acked).toEqual([0, 1, 1])
    expect(ledger.refused).toEqual([0, 1, 0])
    expect(ledger.unacknowledged).toBe(3)
    await ledger.close()
    const byPlace = (
      left: { device: string; order: number },
      right: { device: string; order: number },
    ): number => left.device.localeCompare(right.device) || left.order - right.order
    expect((await readLedger(path)).sort(byPlace)).toEqual([...ledger.entries()].sort(byPlace))
  })

  test('a torn last line is passed over, a torn line within is not', async () => {
    const path = join(folder, 'ledger.ndjson')
    const ledger = new Ledger(path, '7', new Date(0))
    ledger.publish('a', 1, 1, Buffer.from('x'), 1)
    await ledger.close()
    appendFileSync(path, '["a","a"')
    expect(await readLedger(path)).toHaveLength(1)
    appendFileSync(path, '\n["a","a",0,5]\n')
    await expect(readLedger(path)).rejects.toThrow(/line 3 is not JSON/)
  })

  test('a file that is no ledger is refused', async () => {
    const path = join(folder, 'other')
    writeFileSync(path, '')
    await expect(readLedger(path)).rejects.toThrow(/is no ledger/)
    writeFileSync(path, '{"seq":1}\n')
    await expect(readLedger(path)).rejects.toThrow(/is no ledger/)
  })

  test('a place that cannot be written is reported at once, a disk that fills when it is closed', async () => {
    expect(() => new Ledger(join(folder, 'missing', 'ledger'), '1', new Date(0))).toThrow(
      /its folder does not exist/,
    )
    if (!existsSync('/dev/full')) return
    const ledger = new Ledger('/dev/full', '1', new Date(0))
    ledger.publish('d', 1, 1, Buffer.from('x'), 0)
    await expect(ledger.close()).rejects.toThrow(/ENOSPC/)
  })
})
