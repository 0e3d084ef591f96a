/**
 * The fast selection of damages: some of each shape, with fixed seeds. The long campaign is
 * campaign.ts.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import { makeTemplates, runDamage, type Template, workFolder } from './campaign.ts'
import { runProcessDamage } from './process-damage.ts'
import type { Shape } from './shapes.ts'

const SHAPES: readonly Shape[] = ['fresh', 'settled', 'refused', 'identities', 'qos2', 'stopped']
const RUNS = 36

let root: Awaited<ReturnType<typeof workFolder>>
let templates: Template[]
beforeAll(async () => {
  root = await workFolder()
  templates = await makeTemplates(root.path, SEED, SHAPES)
})
afterEach(reapProcesses)
afterAll(() => root.remove())

describe(`I4, I5, I7, I9: a damaged spool starts, loses only what is damaged, and says so (seed ${SEED})`, () => {
  it.each(SHAPES.map((shape, i) => [shape, i] as const))('%s', async (_, shape) => {
    for (let run = shape; run < RUNS; run += SHAPES.length) {
      const { damages, what, faults } = await runDamage(root.path, templates, SEED, run)
      expect(damages.length, 'the fault fired').toBeGreaterThan(0)
      expect(faults, `seed ${SEED} run ${run}: ${what}`).toEqual([])
    }
  })

  it.each([0, 1, 2])(
    'through a gateway process, with the first PUBACK in time (run %i)',
    async (run) => {
      const { what, faults } = await runProcessDamage(root.path, templates, SEED, run)
      expect(faults, `seed ${SEED} run ${run}: ${what}`).toEqual([])
    },
    60_000,
  )

  it('the templates hold what they are for', () => {
    const of = (shape: Shape): Template =>
      templates.find((template) => template.shape === shape) as Template
    expect(new Set(of('identities').baseline.lines.map(({ spoolId }) => spoolId)).size).toBe(2)
    expect([...of('refused').baseline.deadLetters.values()].flat().length).toBeGreaterThan(3)
    expect(of('qos2').baseline.journal.split('\n')).toHaveLength(30)
    expect(of('stopped').baseline.lines.length).toBeGreaterThan(400)
  })
})
