/**
 * The probe of a sink against real far sides: what a person is told, step by step, and that nothing
 * is delivered.
 */
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { Cloud } from '../../../device-sim/cloud/cloud.ts'
import { readStore } from '../../../device-sim/cloud/store/store.ts'
import { type HttpProbe, type HttpProbeStep, probeSink } from '../../../gateway/sink/http/probe.ts'
import { reapProcesses, startProcess } from '../../support/process.ts'
import { type Script, ScriptedSink } from '../../support/scripted-sink.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { sinkConfig } from './batches.ts'
import { RawSink } from './raw-sink.ts'

const pem = (name: string): string =>
  fileURLToPath(new URL(`../../support/tls-sink/${name}`, import.meta.url))
const certificate = (name: string): X509Certificate =>
  new X509Certificate(readFileSync(pem(`${name}.pem`)))
const day = (text: string): string => new Date(text).toISOString().slice(0, 10)
const CA = { ca: pem('ca.pem'), cert: null, key: null }

const cleanups: Array<() => Promise<unknown>> = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await reapProcesses()
})

async function serve(
  script: Script = [{ status: 204 }],
  certificateName?: string,
): Promise<ScriptedSink> {
  const tls =
    certificateName === undefined
      ? {}
      : {
          tls: {
            cert: readFileSync(pem(`${certificateName}.pem`)),
            key: readFileSync(pem(`${certificateName}.key`)),
          },
        }
  const server = await ScriptedSink.start({ script, ...tls })
  cleanups.push(() => server.close())
  return server
}

async function probe(
  url: string,
  changes: Parameters<typeof sinkConfig>[1] = {},
  more: { nowMs?: () => number } = {},
): Promise<HttpProbe> {
  return probeSink({ name: 'cloud', config: sinkConfig(url, changes), ...more })
}

const stepsOf = ({ steps }: HttpProbe): string[] =>
  steps.map(({ step, verdict }) => `${step} ${verdict}`)
const last = ({ steps }: HttpProbe): HttpProbeStep | undefined => steps.at(-1)

describe('a sink that is well', () => {
  test('over plain HTTP: the request has no record, no key, no queue, and carries the credentials', async () => {
    const server = await serve()
    const result = await probe(server.url, { bearerToken: { value: 's3cret' } })
    expect(result).toMatchObject({ verdict: 'ok', status: 204, certificate: null })
    expect(stepsOf(result)).toEqual(['connection ok', 'answer ok'])
    const [request] = server.requests
    expect(server.requests).toHaveLength(1)
    expect(request?.rawBody).toHaveLength(0)
    expect(request?.headers).toMatchObject({
      'sluice-contract': '1',
      'sluice-probe': '1',
      'sluice-record-count': '0',
      'content-length': '0',
      authorization: 'Bearer s3cret',
    })
    for (const name of ['idempotency-key', 'sluice-first-seq', 'sluice-stream', 'sluice-gateway'])
      expect(request?.headers[name], name).toBeUndefined()
    expect(JSON.stringify(result)).not.toContain('s3cret')
  })

  test('by name: which address answered', async () => {
    const server = await serve()
    const result = await probe(server.url.replace('127.0.0.1', 'localhost'))
    expect(stepsOf(result)).toEqual(['name ok', 'connection ok', 'answer ok'])
    expect(result.steps[0]?.detail).toMatch(/^localhost is .*127\.0\.0\.1/)
    expect(result.steps[1]?.detail).toContain('127.0.0.1 takes connections')
  })

  test('over TLS: whose certificate it is, for which names, and until when', async () => {
    const server = await serve([{}], 'server')
    const result = await probe(server.url, { tls: CA })
    expect(stepsOf(result)).toEqual(['connection ok', 'tls ok', 'answer ok'])
    const shown = certificate('server')
    expect(result.certificate?.validToMs).toBe(Date.parse(shown.validTo))
    expect(result.certificate?.names).toContain('127.0.0.1')
    expect(result.steps[1]?.detail).toMatch(
      new RegExp(`TLSv1\\.3.*valid until ${day(shown.validTo)}`),
    )
  })

  test('a certificate that ends within two weeks is a warning', async () => {
    const server = await serve([{}], 'server')
    const nowMs = (): number => Date.parse(certificate('server').validTo) - 3.5 * 86_400_000
    const result = await probe(server.url, { tls: CA }, { nowMs })
    expect(result.verdict).toBe('warning')
    expect(result.steps[1]?.detail).toMatch(/only valid until .*, 3 days left: renew it/)
  })
})

describe('a sink that is not', () => {
  test('a name that nobody knows', async () => {
    const result = await probe('http://sink.invalid:9000/ingest')
    expect(stepsOf(result)).toEqual(['name problem'])
    expect(last(result)?.detail).toMatch(/sink\.invalid:9000.*(ENOTFOUND|EAI_AGAIN)/)
  })

  test('nothing listens', async () => {
    const server = await serve()
    const { url } = server
    await server.close()
    const result = await probe(url)
    expect(stepsOf(result)).toEqual(['connection problem'])
    expect(last(result)?.detail).toMatch(/nothing listens there.*ECONNREFUSED/)
  })

  test('an expired certificate: when it expired', async () => {
    const server = await serve([{}], 'expired')
    const result = await probe(server.url, { tls: CA })
    expect(stepsOf(result)).toEqual(['connection ok', 'tls problem'])
    expect(last(result)?.detail).toMatch(
      new RegExp(`CERT_HAS_EXPIRED.*expired on ${day(certificate('expired').validTo)}`),
    )
    expect(server.requests).toHaveLength(0)
  })

  test('a certificate for another host: for which', async () => {
    const server = await serve([{}], 'other-host')
    const result = await probe(server.url, { tls: CA })
    expect(stepsOf(result)).toEqual(['connection ok', 'tls problem'])
    const [name] = result.certificate?.names ?? []
    expect(name).toBeDefined()
    expect(last(result)?.detail).toContain(`for ${name}`)
    expect(server.requests).toHaveLength(0)
  })

  test('an authority that is not known here: which it is', async () => {
    const server = await serve([{}], 'server')
    const result = await probe(server.url)
    expect(last(result)).toMatchObject({ step: 'tls', verdict: 'problem' })
    expect(last(result)?.detail).toMatch(/tls\.ca.*from /)
    expect(server.requests).toHaveLength(0)
  })

  test('no TLS on the other side', async () => {
    const server = await serve()
    const result = await probe(server.url.replace('http:', 'https:'))
    expect(last(result)).toMatchObject({ step: 'tls', verdict: 'problem' })
    expect(last(result)?.detail).toContain('http:// instead of https://')
  })

  test('a secret that is not there', async () => {
    const result = await probe('http://127.0.0.1:9/', { bearerToken: { file: '/nowhere/token' } })
    expect(stepsOf(result)).toEqual(['settings problem'])
    expect(last(result)?.detail).toContain('/nowhere/token')
  })

  test.each([
    [401, 'problem', /credentials/],
    [403, 'problem', /not allowed/],
    [404, 'problem', /path/],
    [405, 'problem', /POST/],
    [301, 'problem', /redirect to https:\/\/elsewhere\.example/],
    [400, 'warning', /whether it takes batches was not seen/],
    [422, 'warning', /whether it takes batches was not seen/],
    [503, 'warning', /come again later/],
    [429, 'warning', /come again later/],
  ] as const)('%i is a %s', async (status, verdict, words) => {
    const server = await serve([{ status, headers: { location: 'https://elsewhere.example/' } }])
    const result = await probe(server.url)
    expect(result).toMatchObject({ verdict, status })
    expect(last(result)).toMatchObject({
      step: 'answer',
      detail: expect.stringMatching(words) as string,
    })
  })

  test.each([404, 400, 503])(
    '%i: what it says is quoted, without the credentials that it was shown',
    async (status) => {
      const server = await serve(({ headers }) => ({
        status,
        body: { error: `database not found: "plant", as ${headers.authorization}` },
      }))
      const token = 's3cret-of-ours'
      const result = await probe(server.url, { bearerToken: { value: token } })
      expect(last(result)?.detail).toContain('database not found')
      expect(last(result)?.detail).toContain('Bearer (hidden)')
      expect(JSON.stringify(result)).not.toContain(token)
    },
  )

  test('a receiver that ends the connection instead of answering may not know probes', async () => {
    const raw = await RawSink.start((socket) => {
      socket.once('data', () => socket.end())
    })
    cleanups.push(() => raw.close())
    const result = await probe(raw.url)
    expect(result).toMatchObject({ verdict: 'warning', status: null })
    expect(last(result)?.detail).toContain('does not know probes')
  })

  test('silence ends at the time-out', async () => {
    const raw = await RawSink.start((socket) => void socket.resume())
    cleanups.push(() => raw.close())
    const result = await probe(raw.url, { timeout: 150 })
    expect(last(result)?.detail).toContain('within 150 ms')
  })
})

test('the reference cloud answers it and stores nothing; with a wrong token it says 401', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-probe-'))
  cleanups.push(async () => rmSync(dir, { recursive: true }))
  const cloud = await Cloud.start({ dir, bearerToken: 'right' })
  cleanups.push(() => cloud.close())
  expect(await probe(cloud.url, { bearerToken: { value: 'right' } })).toMatchObject({
    verdict: 'ok',
  })
  expect(await probe(cloud.url, { bearerToken: { value: 'wrong' } })).toMatchObject({
    verdict: 'problem',
    status: 401,
  })
  for await (const one of readStore(dir)) expect(one).toBeUndefined()
  expect(cloud.stats).toMatchObject({ records: 0, violations: 0 })
})

describeWithTool('python3', "the receiver in Python's standard library", () => {
  test('answers it and stores nothing', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-probe-'))
    cleanups.push(async () => rmSync(dir, { recursive: true }))
    const program = fileURLToPath(new URL('../../support/receiver.py', import.meta.url))
    const receiver = startProcess('python3', [program, '--db', join(dir, 'records.db')])
    const { text: url } = await receiver.waitForLine(/^http/)
    expect(await probe(url)).toMatchObject({ verdict: 'ok', status: 204 })
    const stats = (await (await fetch(url.replace('/ingest', '/stats'))).json()) as Record<
      string,
      number
    >
    expect(stats).toMatchObject({ stored: 0, bad: 0 })
  })
})
