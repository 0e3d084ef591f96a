/** Keys and promise of the NATS sink, without a server. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { promiseOf } from '../../../gateway/sink/nats/promise.ts'
import { ConfigFolder } from '../../config/folder.ts'

const SEED = 'SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY'

describe('keys', () => {
  let folder: ConfigFolder
  beforeEach(() => {
    folder = new ConfigFolder()
  })
  afterEach(() => folder.remove())

  const problems = (keys: string) =>
    folder
      .problems(`sinks: { cloud: { type: nats, ${keys} } }`)
      .map(({ key, fix }) => `${key}: ${fix}`)

  test.each([
    ['servers: []', /servers: /],
    ['servers: ["nats://u:p@h:4222"]', /user and password out of it/],
    ['servers: ["https://h"]', /nats:\/\/broker\.example:4222/],
    ['jetStream: a.b', /jetStream: leave out/],
    ['domain: "a b"', /domain: leave out/],
    ['subject: "plant.>"', /subject: write a subject/],
    ['subject: "$JS.x"', /subject: write a subject/],
    ['subject: "x.${topic}"', /subject: .*set message to record/],
    ['nkey: SUshort', /nkey: write a seed/],
    ['token: "a\\nb"', /token: use one line/],
    [`user: u, password: p, nkey: ${SEED}`, /nkey: remove all but one of user, nkey/],
    ['token: t, credentials: /c', /credentials: remove all but one of token, credentials/],
    ['password: p', /password: set user/],
    ['tls: { cert: /c }', /tls: add key/],
    ['tls: { key: /k }', /tls: add cert/],
    ['minReplicas: 6', /minReplicas/],
    ['servers: [h], token: t', /servers: write tls:\/\//],
    ['servers: ["127.0.0.1", "nats://h:4222"], user: u, password: p', /servers: write tls:\/\//],
  ])('%s', (keys, problem) => {
    expect(problems(keys).join('\n')).toMatch(problem)
  })

  test.each([
    'servers: ["127.0.0.1", "nats://localhost:4222", "[::1]:4222"], token: t',
    'servers: ["tls://h:4222", "nats://i:4222"], token: t',
    'servers: [h], tls: { ca: /ca }, user: u, password: p',
    'servers: [h], tlsFirst: true, token: t',
    'servers: [h], token: t, allowInsecure: true',
    `servers: [h], nkey: ${SEED}`,
    'servers: [h], credentials: /c',
    'message: record, subject: "x.${topic}.${/a}"',
  ])('%s is taken', (keys) => {
    const sink = `sinks: { cloud: { type: nats, ${keys} } }`
    expect(folder.load(sink).warnings).toEqual([])
  })
})

describe('the promise', () => {
  const BATCH = {
    message: 'batch',
    minReplicas: 1,
    syncAlways: false,
    whenLastMessageIsGone: 'send',
  } as const
  const FACTS = {
    storage: 'file',
    retention: 'limits',
    mayForget: false,
    duplicateWindowMs: 120_000,
  } as const
  const ONCE = 'exactly once'
  const OFTEN = 'at least once'

  test.each([
    [
      'before the stream was seen',
      {},
      null,
      null,
      ONCE,
      'received',
      /last message of its subject$/,
    ],
    ['of a stream that forgets', {}, { mayForget: true }, null, ONCE, 'received', /unless limits/],
    [
      'that holds where it forgets',
      { whenLastMessageIsGone: 'hold' },
      { mayForget: true },
      null,
      ONCE,
      'received',
      /subject$/,
    ],
    ['of a work queue', {}, { retention: 'workqueue' }, null, OFTEN, 'received', /workqueue/],
    [
      'of a work queue that holds',
      { whenLastMessageIsGone: 'hold' },
      { retention: 'workqueue' },
      null,
      ONCE,
      'received',
      /subject$/,
    ],
    ['of a server without the check', {}, {}, 'too old', OFTEN, 'received', /^with ids: too old$/],
    ['in memory', { syncAlways: true }, { storage: 'memory' }, null, ONCE, 'in memory', /subject/],
    ['of three replicas', { minReplicas: 3 }, {}, null, ONCE, 'replicated', /subject/],
    ['with fsync', { syncAlways: true }, {}, null, ONCE, 'durable', /subject/],
    ['of records', { message: 'record' }, null, null, OFTEN, 'received', /duplicate window$/],
    ['of records, seen', { message: 'record' }, {}, null, OFTEN, 'received', /window \(120 s\)$/],
  ] as const)('%s', (_, config, seen, lacks, delivery, ack, by) => {
    const facts = seen === null ? null : { ...FACTS, ...seen }
    const promise = promiseOf({ ...BATCH, ...config }, { facts, lacks })
    expect(promise).toMatchObject({ delivery, ack })
    expect(promise.by).toMatch(by)
  })
})
