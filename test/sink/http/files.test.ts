/**
 * Secrets and certificates of a sink: used, re-read, missing, rotated; over real files, HTTP and
 * TLS. Files are written synchronously: the watch looks every few milliseconds from the same thread,
 * and would take one that is written in the background, and still empty, for complete.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { rename, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SinkEvent } from '../../../gateway/sink/events.ts'
import { createHttpSink } from '../../../gateway/sink/http/http-sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { batchOf, never, sinkConfig } from './batches.ts'

const FILE_CHECK_MS = 10
const certificate = (name: string): string =>
  fileURLToPath(new URL(`../../support/tls-sink/${name}`, import.meta.url))
const pem = (name: string): Buffer => readFileSync(certificate(name))

let folder = ''
const cleanups: Array<() => Promise<unknown>> = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-sink-'))
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  rmSync(folder, { recursive: true })
})

interface Watched {
  readonly sink: ConfiguredSink
  readonly events: SinkEvent[]
  /** Resolves at the next change that the sink reports. */
  readonly changed: () => Promise<void>
  /** Resolves when an event of this type has come. */
  readonly seen: (type: SinkEvent['type']) => Promise<void>
}

function open(url: string, changes: Parameters<typeof sinkConfig>[1]): Watched {
  const events: SinkEvent[] = []
  const waiting: Array<{ readonly type: string; readonly resolve: () => void }> = []
  const emit = (event: SinkEvent): void => {
    events.push(event)
    for (const one of waiting) if (one.type === event.type) one.resolve()
  }
  const sink = createHttpSink({
    name: 'cloud',
    config: sinkConfig(url, changes),
    emit,
    fileCheckMs: FILE_CHECK_MS,
  })
  cleanups.push(() => sink.close())
  return {
    sink,
    events,
    changed: () => new Promise((resolve) => sink.onChange(() => resolve())),
    seen: async (type) => {
      if (events.some((event) => event.type === type)) return
      await new Promise<void>((resolve) => {
        waiting.push({ type, resolve })
      })
    },
  }
}

async function serve(
  options: Parameters<typeof ScriptedSink.start>[0] = {},
): Promise<ScriptedSink> {
  const server = await ScriptedSink.start(options)
  cleanups.push(() => server.close())
  return server
}

describe('secrets in files', () => {
  test('the trailing newline is cut, and a changed file is used and reported', async () => {
    const server = await serve()
    const file = join(folder, 'token')
    writeFileSync(file, 'first token\r\n')
    const { sink, changed } = open(server.url, { bearerToken: { file } })
    await sink.send(batchOf(1, 1), never())
    const change = changed()
    writeFileSync(file, 'second\n')
    await change
    await sink.send(batchOf(2, 2), never())
    expect(server.requests.map((one) => one.headers.authorization)).toEqual([
      'Bearer first token',
      'Bearer second',
    ])
  })

  test('a mounted secret is swapped by its symbolic link', async () => {
    const server = await serve()
    const [one, two, link] = [join(folder, 'one'), join(folder, 'two'), join(folder, 'link')]
    writeFileSync(one, 'aaaa')
    writeFileSync(two, 'bbbb')
    await symlink(one, link)
    const { sink, changed } = open(server.url, { headers: { 'X-Key': { file: link } } })
    const change = changed()
    await symlink(two, `${link}.new`)
    await rename(`${link}.new`, link)
    await change
    await sink.send(batchOf(1, 1), never())
    expect(server.requests[0]?.headers['x-key']).toBe('bbbb')
  })

  test('I8: a missing secret holds the sink and says which file; it appears, and the hold may end at once', async () => {
    const server = await serve()
    const file = join(folder, 'token')
    const { sink, changed, events } = open(server.url, { bearerToken: { file } })
    const answer = await sink.send(batchOf(1, 1), never())
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', code: null })
    expect(answer).toMatchObject({
      detail: expect.stringMatching(/bearerToken.*token.*ENOENT/) as string,
    })
    expect(events[0]).toMatchObject({ type: 'sink.file-unusable', kept: false, file })
    expect(server.requests).toHaveLength(0)
    const change = changed()
    writeFileSync(file, 'now')
    await change
    expect((await sink.send(batchOf(1, 1), never())).kind).toBe('verdicts')
  })

  test('I8: a secret that vanishes, is emptied or made unusable stays in use as it was', async () => {
    const server = await serve()
    const file = join(folder, 'token')
    writeFileSync(file, 'good')
    const { sink, seen, events } = open(server.url, { bearerToken: { file } })
    await rm(file)
    await seen('sink.file-unusable')
    await sink.send(batchOf(1, 1), never())
    events.length = 0
    writeFileSync(file, 'line one\nline two\n')
    await seen('sink.file-unusable')
    await sink.send(batchOf(2, 2), never())
    expect(server.requests.map((one) => one.headers.authorization)).toEqual([
      'Bearer good',
      'Bearer good',
    ])
    expect(events.every((event) => event.type === 'sink.file-unusable' && event.kept)).toBe(true)
    expect(JSON.stringify(events)).not.toContain('line one')
  })

  test('a literal that no header can carry holds instead of ending the process', async () => {
    const server = await serve()
    const { sink } = open(server.url, { bearerToken: { value: 'a\r\nSluice-Stream: other' } })
    expect((await sink.send(batchOf(1, 1), never())).kind).toBe('hold')
    expect(server.requests).toHaveLength(0)
  })
})

describe('TLS', () => {
  const serverTls = { cert: pem('server.pem'), key: pem('server.key') }
  const ca = certificate('ca.pem')
  const noClient = { cert: null, key: null }

  test('a sink whose authority is configured is trusted', async () => {
    const server = await serve({ tls: serverTls })
    const { sink } = open(server.url, { tls: { ca, ...noClient } })
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
    expect(server.requests).toHaveLength(1)
  })

  test.each([
    ['an unknown authority', 'server', null, /authority.*tls\.ca/],
    ['another host name', 'other-host', ca, /another host name.*ERR_TLS_CERT_ALTNAME_INVALID/],
    [
      'an expired certificate',
      'expired',
      ca,
      /expired, or the clock of this box.*CERT_HAS_EXPIRED/,
    ],
  ])(
    '%s is a retry that says so, and not a byte of a record is sent',
    async (_, name, authority, detail) => {
      const server = await serve({ tls: { cert: pem(`${name}.pem`), key: pem(`${name}.key`) } })
      const { sink } = open(server.url, {
        tls: authority === null ? null : { ca: authority, ...noClient },
      })
      const answer = await sink.send(batchOf(1, 3), never())
      expect(answer).toMatchObject({
        kind: 'retry',
        code: null,
        detail: expect.stringMatching(detail) as string,
      })
      expect(server.requests).toHaveLength(0)
      expect(sink.stats.sentBytes).toBe(0)
    },
  )

  test('https to a port that speaks plain HTTP says so', async () => {
    const server = await serve()
    const { sink } = open(server.url.replace('http:', 'https:'), {})
    const answer = await sink.send(batchOf(1, 3), never())
    expect(answer).toMatchObject({
      kind: 'retry',
      detail: expect.stringMatching(/does not speak TLS/) as string,
    })
  })

  test('a client certificate is shown; one that comes later is used by new connections', async () => {
    const server = await serve({
      tls: { ...serverTls, ca: pem('ca.pem'), requestCert: true, rejectUnauthorized: true },
    })
    const [cert, key] = [join(folder, 'client.pem'), join(folder, 'client.key')]
    const { sink, changed } = open(server.url, { tls: { ca, cert, key } })
    expect(await sink.send(batchOf(1, 1), never())).toMatchObject({
      kind: 'hold',
      scope: 'sink',
      code: null,
    })
    const change = changed()
    copyFileSync(certificate('client.key'), key)
    copyFileSync(certificate('client.pem'), cert)
    await change
    expect((await sink.send(batchOf(1, 1), never())).kind).toBe('verdicts')
  })

  test('without a client certificate such a sink is a retry with a hint', async () => {
    const server = await serve({
      tls: { ...serverTls, ca: pem('ca.pem'), requestCert: true, rejectUnauthorized: true },
    })
    const { sink } = open(server.url, { tls: { ca, ...noClient } })
    expect(await sink.send(batchOf(1, 1), never())).toMatchObject({ kind: 'retry', code: null })
  })

  test('a certificate that is rotated before its key does not end delivery', async () => {
    const server = await serve({
      tls: { ...serverTls, ca: pem('ca.pem'), requestCert: true, rejectUnauthorized: true },
    })
    const [cert, key] = [join(folder, 'client.pem'), join(folder, 'client.key')]
    copyFileSync(certificate('client.pem'), cert)
    copyFileSync(certificate('client.key'), key)
    const { sink, seen, events } = open(server.url, { tls: { ca, cert, key } })
    await sink.send(batchOf(1, 1), never())
    copyFileSync(certificate('server.pem'), cert)
    await seen('sink.file-unusable')
    expect(events[0]).toMatchObject({ what: 'tls.ca, cert, key', kept: true })
    server.cutConnections()
    const kinds = [
      await sink.send(batchOf(2, 2), never()),
      await sink.send(batchOf(2, 2), never()),
    ].map((one) => one.kind)
    expect(kinds[1]).toBe('verdicts')
  })
})
