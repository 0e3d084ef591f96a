/** Keys of a Kafka sink, what they say of each other, and what its README and preview show. */
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ConfigError } from '../../../gateway/config/problems.ts'
import { kafkaType } from '../../../gateway/sink/kafka/type.ts'
import { ConfigFolder } from '../../config/folder.ts'
import { sourcePath } from '../../support/source-path.ts'
import { batchOf, expired } from '../http/batches.ts'
import { kafkaSinkConfig } from './configs.ts'

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

const load = (keys: string) =>
  folder.load(`
streams:
  telemetry: { topics: ["plant/#"], sink: cluster }
sinks:
  cluster: { type: kafka, ${keys} }
`)

function problemOf(keys: string): string {
  try {
    load(keys)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return ''
}

describe('what is refused at the start, with the fix', () => {
  test.each([
    ['brokers: ["kafka://a:9092"]', /brokers\[0\].*write host:port/],
    ['brokers: ["a:0"]', /brokers\[0\]/],
    ['topic: "a b"', /topic.*use letters, digits/],
    ['topic: "${tpoic}"', /topic.*write \$\{topic\}/],
    ['gapsTopic: ".."', /gapsTopic/],
    ['compression: gz', /compression.*write gzip/],
    ['url: "http://a"', /url/],
    ['sasl: { username: edge }', /sasl\.password.*write password/],
    ['tls: { cert: a.pem }', /tls.*add key/],
    [
      'brokers: ["a.example:9092"], sasl: { mechanism: plain, username: a, password: b }',
      /sasl\.mechanism.*without TLS.*tls: \{\}/,
    ],
  ])('%s', (keys, words) => {
    expect(problemOf(keys)).toMatch(words)
  })
})

test('what is right is taken', () => {
  expect(problemOf('brokers: ["[::1]:9092"], topic: "plant/${topic.1}"')).toBe('')
  const { config } = load('brokers: ["a.example:9092"], tls: {}')
  expect(config.sinks['cluster']).toMatchObject({ type: 'kafka', maxBatchBytes: 896 * 1024 })
})

test('the configuration in README loads without a warning', () => {
  const text = readFileSync(sourcePath('gateway/sink/kafka/README.md'), 'utf8')
  const yaml = /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? ''
  const { config, warnings } = folder.load(yaml)
  expect(config.sinks['cluster']).toMatchObject({ type: 'kafka', topic: 'plant.telemetry' })
  expect(warnings).toEqual([])
})

test('preview shows topic, key, headers and value, and what would be refused', async () => {
  const config = kafkaSinkConfig({
    topic: 'plant/${topic.1}',
    key: '${/celsius}',
    gapsTopic: 'gaps',
  })
  const batch = batchOf(1, 1, { gaps: [expired(5, 6)] })
  const text = await kafkaType.preview(config, batch)
  expect(text).toContain('topic gaps, key edge-01:k3f9x2m7q4w8z:telemetry')
  expect(text).toContain(
    'topic plant.press-7, key 21.4, 2026-11-23T03:05:00.123Z\nid: edge-01:k3f9x2m7q4w8z:telemetry:1\n',
  )
  expect(text).toContain('{"celsius":21.4}')
  const refused = await kafkaType.preview({ ...config, key: '${/kelvin}' }, batch)
  expect(refused).toMatch(/seq 1 would be refused: unmappable: .*\/kelvin/)
})

test('a change of the mapping is another fingerprint, one of the brokers is none', () => {
  const of = (changes: object) => {
    const config = kafkaSinkConfig(changes)
    return kafkaType.create({ name: 'a', config, emit: () => undefined }).encoder.fingerprint
  }
  expect(of({})).toMatch(/^kafka:payload:gzip:[0-9a-f]{8}$/)
  expect(of({ brokers: ['b:1'] })).toBe(of({}))
  for (const changes of [{ topic: 'a' }, { key: '${id}' }, { value: 'record' }, { gapsTopic: 'g' }])
    expect(of(changes)).not.toBe(of({}))
})
