/** Addresses, keys and errors of the PostgreSQL sink, without a database. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { standingOf } from '../../../gateway/sink/postgres/exchange/standing.ts'
import { tablesSql } from '../../../gateway/sink/postgres/sql/tables.ts'
import {
  addressOf,
  databaseUrlFix,
  shownAddress,
} from '../../../gateway/sink/postgres/wire/address.ts'
import { faultOf } from '../../../gateway/sink/postgres/wire/faults.ts'
import { ConfigFolder } from '../../config/folder.ts'
import { postgresSinkConfig } from './configs.ts'

const PARTS = { host: null, port: null, database: null, user: null, sslMode: null }

describe('an address', () => {
  test.each([
    ['postgresql://', '127.0.0.1:5432', 'sluice', 'sluice', 'disable'],
    ['postgres://edge@db.example/plant', 'db.example:5432', 'edge', 'plant', 'verify-full'],
    ['postgresql://edge@[::1]:6432', '::1:6432', 'edge', 'edge', 'disable'],
    ['postgresql://a%40b@x:1,y:2/c%2Fd', 'x:1 y:2', 'a@b', 'c/d', 'verify-full'],
    ['postgresql://u@h/d?sslmode=require', 'h:5432', 'u', 'd', 'require'],
    [
      'postgresql:///d?host=/var/run/postgresql',
      '/var/run/postgresql:5432',
      'sluice',
      'd',
      'disable',
    ],
  ] as const)('%s', (url, list, user, database, sslMode) => {
    expect(databaseUrlFix(url)).toBeNull()
    const address = addressOf({ ...PARTS, url })
    expect(address).toMatchObject({ user, database, sslMode })
    expect(address.hosts.map(({ host, port }) => `${host}:${port}`).join(' ')).toBe(list)
    expect(databaseUrlFix(shownAddress(address))).toBeNull()
  })

  test('in parts takes the place of what the URL says', () => {
    const url = 'postgresql://u@a:1,b:2/d?sslmode=require'
    expect(
      addressOf({ url, host: 'c', port: 3, database: 'e', user: 'v', sslMode: 'verify-ca' }),
    ).toEqual({ hosts: [{ host: 'c', port: 3 }], database: 'e', user: 'v', sslMode: 'verify-ca' })
  })

  test.each([
    ['https://db.example', /postgresql:\/\//],
    ['postgresql://u:secret@h/d', /use the key password/],
    ['postgresql://h:x/d', /separated by commas/],
    ['postgresql://h/d?sslmode=prefer', /sslmode=require/],
    ['postgresql://h/d?options=-csearch_path', /remove options/],
  ])('%s is refused with what to write', (url, fix) => {
    expect(databaseUrlFix(url)).toMatch(fix)
    expect(databaseUrlFix(url)).not.toContain('secret')
  })
})

describe('keys', () => {
  let folder: ConfigFolder
  beforeEach(() => {
    folder = new ConfigFolder()
  })
  afterEach(() => folder.remove())

  const problems = (keys: string) =>
    folder
      .problems(`sinks: { cloud: { type: postgres, ${keys} } }`)
      .map(({ key, fix }) => `${key}: ${fix}`)

  test.each([
    ['columns: { a: "${devise}" }', /columns\.a: write \$\{device\}/],
    ['columns: { a: "/x~2" }', /columns\.a: write ~0/],
    ['columns: {}', /columns: write payload/],
    [`columns: { ${'x'.repeat(64)}: /a }`, /at most 63 bytes/],
    ['table: a.b.c', /table: write schema\.table/],
    ['queueTable: readings', /table: name another table/],
    ['tls: { ca: /ca }', /tls: set sslMode to verify-full/],
    ['sslMode: verify-full, tls: { cert: /c }', /tls: add key/],
    [
      'url: "postgresql://h/d", password: p, sslMode: require',
      /sslMode: set sslMode to verify-full/,
    ],
    ['marker: x', /marker/],
  ])('%s', (keys, problem) => {
    expect(problems(keys).join('\n')).toMatch(problem)
  })

  test('without a password, or when it is allowed, TLS may be less', () => {
    for (const keys of ['', 'password: p, allowInsecure: true,']) {
      const sink = `{ type: postgres, url: "postgresql://h/d", ${keys} sslMode: require }`
      expect(folder.load(`sinks: { cloud: ${sink} }`).warnings).toEqual([])
    }
  })
})

describe('what the database says', () => {
  const said = (code: string) =>
    faultOf(Object.assign(new Error('words'), { code, severity: 'ERROR' }))

  test.each([
    [
      'retry',
      ['08006', '08P01', '40001', '40P01', '53300', '57P01', '57014', '58030', '25006', '55P03'],
    ],
    ['hold', ['28P01', '3D000', '3F000', '42P01', '42501', '0A000', 'P0001', 'XX001', '99999']],
    ['record', ['22P02', '22P05', '23505', '23502', '44000', '54000']],
    ['too-large', ['53200']],
  ] as const)('%s', (kind, codes) => {
    for (const code of codes) expect(said(code), code).toMatchObject({ kind, code, answered: true })
  })

  test('is known by its severity: EPIPE is no SQLSTATE', () => {
    const broken = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
    expect(faultOf(broken)).toMatchObject({ kind: 'retry', scope: 'sink', answered: false })
  })
})

test('the number of a queue decides what is sent', () => {
  const batch = { firstSeq: 10, lastSeq: 20 }
  const at = (highest: number) => ({ highest, digest: null, refused: [] })
  expect(standingOf(at(0), batch, null)).toEqual({ kind: 'send', after: 0 })
  expect(standingOf(at(9), batch, 9)).toEqual({ kind: 'send', after: 9 })
  expect(standingOf(at(15), batch, 9)).toEqual({ kind: 'send', after: 15 })
  expect(standingOf(at(20), batch, 9)).toEqual({ kind: 'settled' })
  expect(standingOf(at(31), batch, null)).toEqual({ kind: 'settled' })
  expect(standingOf(at(8), batch, 9)).toEqual({ kind: 'rolled-back', known: 9 })
})

test('ddl quotes every name, and knows what fills a column', () => {
  const columns = { 'a"b': '/x', at: '${time}', p: '${payload}' }
  const sql = tablesSql(
    postgresSinkConfig({ table: 'my schema.t', columns, gapTable: null }),
    'u"v',
  )
  expect(sql).toContain('create table if not exists "my schema"."t"')
  expect(sql).toContain('"a""b" double precision')
  expect(sql).toContain('"at" timestamptz not null')
  expect(sql).toContain('to "u""v"')
  expect(sql).not.toContain('gap')
})
