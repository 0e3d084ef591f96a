/** What a configuration of line protocol is warned of. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ConfigFolder } from '../../../../config/folder.ts'

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

function warningsOf(keys: string, precision: string): unknown {
  const url = `http://127.0.0.1:8086/write?db=plant&precision=${precision}`
  const format = `{ kind: influx, precision: ${precision}, ${keys} }`
  return folder.load(`sinks: { cloud: { url: "${url}", format: ${format} } }`).warnings
}

test.each(['s', 'ms'])(
  'arrivals in %s may be one time: a reading would take the place of another',
  (unit) => {
    expect(JSON.stringify(warningsOf('', unit))).toContain(`within one ${unit} the last stays`)
  },
)

test('those that stay apart, and times of the payload, are no matter of precision', () => {
  expect(warningsOf('', 'us')).toEqual([])
  expect(warningsOf('time: { at: /ts }', 'ms')).toEqual([])
})
