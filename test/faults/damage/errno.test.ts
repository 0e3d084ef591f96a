/**
 * The fast selection of calls that fail: those that once passed for damage, and some drawn by the
 * seed. The long campaign is campaign.ts.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Random } from '../../../device-sim/random.ts'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import { findTool } from '../../support/tools.ts'
import { sideBySide } from '../side-by-side.ts'
import { makeTemplates, type Template, workFolder } from './campaign.ts'
import { drawFault, type ErrnoFault, PLANTED, runErrno } from './errno.ts'
import { canHaveContainers, runTwoOwners } from './two-owners.ts'

const DRAWN = 4
const AT_ONCE = 2

/** Of the database itself, as if a gateway of version 0.1 in another container had it. */
const LOCK_FAULT: ErrnoFault = {
  phase: 'open',
  call: 'lock',
  error: 'EAGAIN',
  nth: 4,
  stays: false,
}

const KNOWN: readonly ErrnoFault[] = [
  // The database's log: LevelDB passes over it without a word.
  { phase: 'open', call: 'open', error: 'EMFILE', nth: 45, stays: true },
  { phase: 'open', call: 'lock', error: 'ENOLCK', nth: 1, stays: true },
  LOCK_FAULT,
  { phase: 'open', call: 'stat', error: 'EMFILE', nth: 2, stays: false },
  // A table that can be read the second time: LevelDB's own repair ends the process over it.
  { phase: 'salvage', call: 'mmap', error: 'EIO', nth: 2, stays: false },
  { phase: 'salvage', call: 'mmap', error: 'EIO', nth: 4, stays: true },
  { phase: 'salvage', call: 'readdir', error: 'EIO', nth: 44, stays: false },
  { phase: 'read', call: 'open', error: 'EMFILE', nth: 1, stays: true },
  { phase: 'reopen', call: 'open', error: 'EMFILE', nth: 5, stays: false },
]

let root: Awaited<ReturnType<typeof workFolder>>
let templates: Template[]
beforeAll(async () => {
  root = await workFolder()
  templates = await makeTemplates(root.path, SEED, ['refused', 'stopped'])
})
afterEach(reapProcesses)
afterAll(() => root.remove())

async function run(faults: readonly ErrnoFault[], name: string): Promise<number> {
  let fired = 0
  await sideBySide(AT_ONCE, faults.keys(), async (i) => {
    const template = templates[i % templates.length] as Template
    const result = await runErrno(root.path, template, `${name}-${i}`, faults[i] as ErrnoFault)
    if (result === null) return
    fired++
    expect(result.faults, `seed ${SEED}: ${result.what}`).toEqual([])
  })
  return fired
}

describe.runIf(process.platform === 'linux' && findTool('gcc') !== null)(
  `I1, I7, I8: an error of the disk that is no proof of damage moves nothing and loses nothing (seed ${SEED})`,
  () => {
    it('those that once passed for damage', async () => {
      expect(await run(KNOWN, 'known'), 'each fault fired').toBe(KNOWN.length)
    }, 60_000)

    it('a gateway that took them for damage would be found out', async () => {
      const fault: ErrnoFault = { ...LOCK_FAULT, defect: PLANTED }
      const result = await runErrno(root.path, templates[0] as Template, 'planted', fault)
      expect(result?.faults).not.toEqual([])
    }, 60_000)

    it.runIf(canHaveContainers())(
      'I1, I4, I5: who meets the folder of a gateway in another container is refused, and nothing is lost',
      async () => {
        const { faults } = await runTwoOwners(root.path, 'owners', new Random(SEED, 'owners'))
        expect(faults, `seed ${SEED}`).toEqual([])
      },
      60_000,
    )

    it('some that the seed draws', async () => {
      const drawn = Array.from({ length: DRAWN }, (_, i) => ({
        ...drawFault(new Random(SEED, `errno ${i}`)),
        phase: 'open' as const,
      }))
      expect(await run(drawn, 'drawn'), 'some fired').toBeGreaterThan(1)
    }, 60_000)
  },
)
