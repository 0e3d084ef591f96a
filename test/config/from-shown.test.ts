/** A configuration that is made again of what is shown of it, and the secrets of another one. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fromShown } from '../../gateway/config/keys/from-shown.ts'
import { shownValue } from '../../gateway/config/print.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { ConfigFolder } from './folder.ts'

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

const WRITTEN = `
gateway: { stopTimeout: 7s }
admin: { token: t0ken }
sinks:
  cloud: { url: "https://host.example/in?key=1", bearerToken: { file: cloud.token } }
  plant: { url: "https://plant.example/in", bearerToken: secret, maxBatchBytes: 2MiB }
streams:
  telemetry: { sink: cloud, silentAfter: 1h }
  alarms: { sink: plant, topics: [alarms/#] }
`

test('it is the same, with every unit, path and secret', () => {
  const { config } = folder.load(WRITTEN)
  // As it comes over HTTP.
  const shown = JSON.parse(JSON.stringify(shownValue(SCHEMA.root, config))) as unknown
  expect(JSON.stringify(shown)).not.toMatch(/t0ken|secret|key=1/)
  expect(fromShown(SCHEMA.root, shown, config)).toEqual({ config, hidden: [] })
})

test('a secret that the other one does not show in its place stays hidden, and is told', () => {
  const { config } = folder.load(WRITTEN)
  const other = folder.load(
    WRITTEN.replace('host.example', 'other.example')
      .replace('plant:', 'works:')
      .replace('sink: plant', 'sink: works'),
  ).config
  const made = fromShown(SCHEMA.root, shownValue(SCHEMA.root, config), other)
  expect(made?.hidden).toEqual([
    ['sinks', 'cloud', 'url'],
    ['sinks', 'plant', 'bearerToken'],
  ])
  expect(made?.config.admin).toEqual(config.admin)
})

test('what another version shows is not taken for this one', () => {
  const { config } = folder.load(WRITTEN)
  expect(fromShown(SCHEMA.root, { gatway: {} }, config)).toBeNull()
})
