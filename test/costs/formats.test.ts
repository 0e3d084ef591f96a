/**
 * What an encoded format of the http sink may cost, beside JSON.parse and JSON.stringify of the same
 * records. Measured in a process of the built code: the transformed one of the tests is slower.
 */
import { expect, test } from 'vitest'
import { builtFile, runToEnd } from '../support/process.ts'

/** Under Node 24 JSON.stringify itself is faster, and what is compared with it dearer by that. */
const MOST = Number.parseInt(process.versions.node, 10) < 24 ? 1.3 : 1.6

interface Cost {
  readonly name: string
  /** Of the 95 % interval of the median, its lower end. */
  readonly low: number
  readonly median: number
}

test(`no format costs more than ${MOST} x JSON.parse and JSON.stringify`, async () => {
  const { exit, stdout, stderr } = await runToEnd(process.execPath, [
    builtFile('test/costs/format-costs.js'),
  ])
  expect(exit.code, stderr).toBe(0)
  const costs = JSON.parse(stdout) as Cost[]
  expect(costs).toHaveLength(9)
  expect(
    costs.filter(({ low }) => !(low <= MOST)),
    stdout,
  ).toEqual([])
}, 60_000)
