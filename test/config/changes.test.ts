import { expect, test } from 'vitest'
import { changesBetween } from '../../gateway/config/keys/changes.ts'
import { describeKeys } from '../../gateway/config/keys/describe.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { planReload } from '../../gateway/reload/plan.ts'
import { defaultConfig } from '../support/configs.ts'

const CONFIG = defaultConfig('/box')

test('every key says what its change does', () => {
  const silent = describeKeys(SCHEMA.root).filter(({ effect }) => effect === null)
  expect(silent.map(({ path }) => path)).toEqual([])
})

test('a secret that differs is named, and neither value is shown', () => {
  const token = (value: string) => ({ ...CONFIG, admin: { ...CONFIG.admin, token: { value } } })
  expect(changesBetween(SCHEMA.root, token('one'), token('two'))).toEqual([
    expect.objectContaining({ key: 'admin.token', from: '(hidden)', to: '(hidden)' }),
  ])
})

test('a listener that is put before another one is one change', () => {
  const [first] = CONFIG.mqtt.listeners
  if (first === undefined) throw new Error('the default has a listener')
  const added = { ...first, port: 1884 }
  const to = { ...CONFIG, mqtt: { ...CONFIG.mqtt, listeners: [added, first] } }
  expect(changesBetween(SCHEMA.root, CONFIG, to)).toEqual([
    expect.objectContaining({ key: 'mqtt.listeners[0]', from: null, effect: 'replaced' }),
  ])
})

test('a key that is read at a start refuses the plan by its name', () => {
  const to = { ...CONFIG, gateway: { ...CONFIG.gateway, id: 'edge-02' } }
  expect(planReload(CONFIG, to).refused.map(({ key }) => key)).toEqual(['gateway.id'])
})
