/** Keys of an object sink: what README shows loads, what contradicts itself is refused. */
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ConfigFolder } from '../../config/folder.ts'
import { sourcePath } from '../../support/source-path.ts'

const text = readFileSync(sourcePath('gateway/sink/object/README.md'), 'utf8')
const EXAMPLES = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml = '']) => yaml)

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

test('the configurations in README load without a warning', () => {
  const loaded = EXAMPLES.map((yaml) => folder.load(yaml))
  expect(loaded.map(({ config }) => Object.values(config.sinks)[0])).toMatchObject([
    { type: 'object', store: 's3', layout: 'days', linger: 300_000 },
    { type: 'object', store: 'dav' },
  ])
  expect(loaded.flatMap(({ warnings }) => warnings)).toEqual([])
})

test.each([
  ['temporaryNames: true', 'temporaryNames'],
  ['store: dav, auth: { kind: aws-sigv4, accessKeyId: a, secretAccessKey: b }', 'auth.kind'],
  ['url: "http://store.example/b", auth: { kind: bearer, token: abc }', 'url'],
  ['url: "https://user:word@store.example/b"', 'url'],
  ['url: "https://store.example/b?x=1"', 'url'],
  ['headers: { Content-Type: a }', 'headers.Content-Type'],
  ['headers: { Authorization: a }', 'headers.Authorization'],
  ['tls: { cert: a.pem }', 'tls'],
])('refused at the start: %s', (keys, path) => {
  const yaml = `sinks: { cloud: { type: object, ${keys} } }\n`
  expect(() => folder.load(yaml)).toThrow(`sinks.cloud.${path}`)
})
