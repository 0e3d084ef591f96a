/**
 * The folder of the store is taken away, replaced or emptied while the gateway runs: LevelDB writes
 * on into files that nobody will find again. Nothing is acknowledged from then on, and status says
 * what to do (I1).
 */
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { durable, lanes, message, openSpool } from '../../support/spool-fixture.ts'
import { appendReadings, deliverAll, useFolder } from '../../support/spool-test.ts'

const folder = useFolder()

const store = (): string => join(folder.path, 'spool')
const away = (): string => join(folder.path, 'moved-away')

function moveFiles(from: string, to: string): void {
  for (const name of readdirSync(from)) renameSync(join(from, name), join(to, name))
}

function moveBack(): void {
  rmSync(store(), { recursive: true, force: true })
  renameSync(away(), store())
}

const READINGS = Array.from({ length: 11 }, (_, i) => ({ n: i + 1 }))

test.each([
  ['moved away', () => renameSync(store(), away()), moveBack],
  [
    'moved away, with a copy in its place',
    () => {
      renameSync(store(), away())
      cpSync(away(), store(), { recursive: true })
    },
    moveBack,
  ],
  [
    'moved away, with an empty folder in its place',
    () => {
      renameSync(store(), away())
      mkdirSync(store())
    },
    moveBack,
  ],
  [
    'emptied',
    () => {
      mkdirSync(away())
      moveFiles(store(), away())
    },
    () => moveFiles(away(), store()),
  ],
])('I1: %s: nothing is acknowledged until it is back', async (_, take, putBack) => {
  const { spool, events } = await openSpool(folder.path)
  await appendReadings(spool, 1, 10)
  take()
  let isDurable = false
  const ticket = spool.appender.append(lanes(spool, 'd', 't'), message('{"n":11}'))
  const waits = durable(spool, ticket).then(() => {
    isDurable = true
  })
  const failed = { type: 'spool.write-failed', code: 'ESTALE' }
  await vi.waitFor(() => expect(events).toContainEqual(expect.objectContaining(failed)), 5_000)
  await vi.waitFor(() => expect(events.at(-1)?.type).toBe('spool.storage-failed'), 5_000)
  expect(spool.condition).toMatchObject({
    state: 'storage-failed',
    why: expect.stringContaining(store()) as string,
  })
  expect(isDurable).toBe(false)

  putBack()
  await waits
  expect(spool.condition.state).toBe('ok')
  expect((await deliverAll(spool)).map(({ payload }) => payload)).toEqual(READINGS)
  await spool.stop()
})

test('I1: its log deleted: what comes then is not acknowledged into a file without a name', async () => {
  const { spool, events } = await openSpool(folder.path)
  await appendReadings(spool, 1, 10)
  for (const name of readdirSync(store())) if (name.endsWith('.log')) rmSync(join(store(), name))
  await appendReadings(spool, 11, 1)
  expect(events).toContainEqual(
    expect.objectContaining({
      type: 'spool.write-failed',
      detail: expect.stringContaining('files of the store are gone') as string,
    }),
  )
  await spool.stop()

  const again = await openSpool(folder.path)
  const page = await again.spool.records('telemetry', null)
  expect(page?.records.map((line) => (JSON.parse(line) as { payload: unknown }).payload)).toEqual([
    { n: 11 },
  ])
  expect(page?.unreadable).toBe(10)
  await again.spool.stop()
})
