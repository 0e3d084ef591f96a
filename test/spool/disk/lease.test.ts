import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_LEASED_STREAMS, SeqLease } from '../../../gateway/spool/disk/lease.ts'
import { tempFolders } from './temp-folder.ts'

const tempFolder = tempFolders()
const SLOT_BYTES = 128 * 1024

async function reopened(path: string) {
  const opened = await SeqLease.open(path)
  await opened.lease.close()
  return { state: opened.state, ends: Object.fromEntries(opened.ends), torn: opened.torn }
}

/** Writes the leases one after the other in one life of the file. */
async function writeLeases(
  path: string,
  ...leases: ReadonlyArray<Record<string, number>>
): Promise<void> {
  const { lease } = await SeqLease.open(path)
  for (const ends of leases) await lease.write(new Map(Object.entries(ends)))
  await lease.close()
}

async function overwrite(path: string, at: number, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'r+')
  await file.write(bytes, 0, bytes.length, at)
  await file.close()
}

describe('SeqLease', () => {
  it('I4: gives back what was written last, after every reopening', async () => {
    const path = join(await tempFolder(), 'lease')
    expect(await reopened(path)).toEqual({ state: 'missing', ends: {}, torn: false })
    expect(await reopened(path)).toEqual({ state: 'ok', ends: {}, torn: false })
    let last = {}
    for (let n = 1; n <= 5; n += 1) {
      last = { 's/telemetry': n * 1000, 's/alarms': 2 ** 53 - n }
      await writeLeases(path, last)
      expect(await reopened(path)).toEqual({ state: 'ok', ends: last, torn: false })
    }
    // A clean stop lowers the lease.
    await writeLeases(path, { 's/telemetry': 1234 })
    expect(await reopened(path)).toEqual({
      state: 'ok',
      ends: { 's/telemetry': 1234 },
      torn: false,
    })
  })

  it('holds 256 streams with the longest keys, and refuses one more', async () => {
    const path = join(await tempFolder(), 'lease')
    const key = (n: number): string => `${'s'.repeat(127)}/${String(n).padStart(127, 't')}`
    const ends = new Map(
      Array.from({ length: MAX_LEASED_STREAMS }, (_, n) => [key(n), 2 ** 53 - 1]),
    )
    const { lease } = await SeqLease.open(path)
    await lease.write(ends)
    await expect(lease.write(new Map([...ends, ['one/more', 1]]))).rejects.toThrow(RangeError)
    await expect(lease.write(new Map([['k'.repeat(256), 1]]))).rejects.toThrow(RangeError)
    await expect(lease.write(new Map([['k', -1]]))).rejects.toThrow(RangeError)
    await lease.close()
    expect((await reopened(path)).ends).toEqual(Object.fromEntries(ends))
  })

  it('I6: is written in place, in a file of real bytes that never grows', async () => {
    const path = join(await tempFolder(), 'lease')
    await writeLeases(path, { a: 1 })
    const before = await stat(path)
    expect(before.size).toBe(2 * SLOT_BYTES)
    expect(before.blocks * 512).toBeGreaterThanOrEqual(before.size)
    for (let n = 0; n < 10; n += 1) await writeLeases(path, { a: n, b: n })
    const after = await stat(path)
    expect([after.size, after.ino, after.blocks]).toEqual([before.size, before.ino, before.blocks])
  })

  it('I4: a write torn at any byte leaves the lease that was in force', async () => {
    const path = join(await tempFolder(), 'lease')
    await writeLeases(path, { 's/telemetry': 1000 }, { 's/telemetry': 2000 })
    const before = await readFile(path)
    await writeLeases(path, { 's/telemetry': 3000 })
    const after = await readFile(path)
    const changed = [...after.keys()].filter((at) => after[at] !== before[at])
    const first = changed[0] as number
    const last = changed.at(-1) as number
    expect(Math.floor(first / SLOT_BYTES)).toBe(Math.floor(last / SLOT_BYTES))
    for (let cut = first; cut <= last; cut += 1) {
      await writeFile(path, Buffer.concat([after.subarray(0, cut), before.subarray(cut)]))
      const { state, ends, torn } = await reopened(path)
      expect([state, ends]).toEqual(['ok', { 's/telemetry': 2000 }])
      // Before the first changed byte nothing of the write is there yet.
      expect(torn).toBe(cut > first)
    }
    await writeFile(path, after)
    expect((await reopened(path)).ends).toEqual({ 's/telemetry': 3000 })
  })

  it('goes on writing after a torn write, first over the torn slot', async () => {
    const path = join(await tempFolder(), 'lease')
    await writeLeases(path, { a: 1 }, { a: 2 }, { a: 3 })
    // Generations 3, 4 and 5: the last one lies in the first slot.
    await overwrite(path, 30, Buffer.from('torn'))
    expect(await reopened(path)).toEqual({ state: 'ok', ends: { a: 2 }, torn: true })
    await writeLeases(path, { a: 4 })
    expect(await reopened(path)).toEqual({ state: 'ok', ends: { a: 4 }, torn: false })
  })

  it('I7: says that it is damaged when no slot can be read, and works again', async () => {
    const path = join(await tempFolder(), 'lease')
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (bytes) => {
        await writeFile(path, bytes)
        expect(await reopened(path)).toEqual({ state: 'damaged', ends: {}, torn: true })
        await writeLeases(path, { a: 7 })
        expect(await reopened(path)).toMatchObject({ state: 'ok', ends: { a: 7 } })
        expect((await stat(path)).size).toBe(2 * SLOT_BYTES)
      }),
      { numRuns: 20 },
    )
  })

  it('I7: a file that was cut still gives the slot that is left', async () => {
    const path = join(await tempFolder(), 'lease')
    await writeLeases(path, { a: 1 }, { a: 2 }, { a: 3 })
    await truncate(path, SLOT_BYTES)
    expect(await reopened(path)).toEqual({ state: 'ok', ends: { a: 3 }, torn: true })
  })

  it('keeps the order of writes that were not awaited', async () => {
    const path = join(await tempFolder(), 'lease')
    const { lease } = await SeqLease.open(path)
    await Promise.all(Array.from({ length: 20 }, (_, n) => lease.write(new Map([['a', n + 1]]))))
    await lease.close()
    expect((await reopened(path)).ends).toEqual({ a: 20 })
  })
})
