/** Rows for ClickHouse. */
import { expect, test } from 'vitest'
import { Random } from '../../../../device-sim/random.ts'
import { compileRow } from '../../../../gateway/sink/http/formats/json-each-row.ts'
import { SEED } from '../../../support/seed.ts'
import { recordId } from '../batches.ts'
import { encoded, oddJson, oddText } from './records.ts'

const COLUMNS = {
  id: '${id}',
  at: '${receivedAtMs}',
  device: '${device}',
  celsius: '/celsius',
  'odd "name"': '/o',
}

test('a column has the value that is mapped to it, with its type and all digits', () => {
  const payload = '{"celsius":21.40,"o":{"a":[1]}}'
  const head = `{"id":"${recordId(42)}","at":1795403100123,"device":"press-7","celsius":21.40`
  expect(encoded(compileRow(COLUMNS, 'text'), { payload })).toBe(
    `${head},"odd \\"name\\"":"{\\"a\\":[1]}"}\n`,
  )
  expect(encoded(compileRow(COLUMNS, 'nested'), { payload })).toBe(
    `${head},"odd \\"name\\"":{"a":[1]}}\n`,
  )
})

test('null is null, and what is missing is the default of its column', () => {
  expect(encoded(compileRow({ a: '/a', b: '/b' }, 'text'), { payload: '{"a":null}' })).toBe(
    '{"a":null}\n',
  )
  expect(encoded(compileRow({ a: '/a' }, 'text'), { payload: '1' })).toBe('{}\n')
  expect(encoded(compileRow({ a: '/a' }, 'text'), { payloadBase64: 'AA==' })).toBe(
    'unmappable: the payload is not JSON',
  )
})

test('without columns a row is the record', () => {
  const row = encoded(compileRow({}, 'text'), { payload: '{"celsius":1.10}' })
  expect(row).toMatch(/^\{"id":.*"payload":\{"celsius":1\.10\}\}\n$/)
})

test(`any record is one line of valid JSON that says the same (SLUICE_SEED=${SEED})`, () => {
  const random = new Random(SEED, 'json-each-row')
  const encode = compileRow({ device: '${device}', topic: 'x ${topic}', whole: '/' }, 'nested')
  for (let i = 0; i < 2000; i++) {
    const [device, topic, payload] = [oddText(random), oddText(random), oddJson(random)]
    const row = encoded(encode, { device, topic, payload: JSON.stringify(payload) })
    expect(row.indexOf('\n')).toBe(row.length - 1)
    const whole = JSON.parse(JSON.stringify(payload))
    expect(JSON.parse(row)).toEqual({ device, topic: `x ${topic}`, whole })
  }
})
