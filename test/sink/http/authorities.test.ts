/** The certificate authorities of this machine: Node's, and those that its administrator added. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { SinkEvent } from '../../../gateway/sink/events.ts'
import { systemAuthorities } from '../../../gateway/sink/http/authorities.ts'
import { createHttpSink } from '../../../gateway/sink/http/http-sink.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { batchOf, never, sinkConfig } from './batches.ts'

const pem = (name: string): string =>
  fileURLToPath(new URL(`../../support/tls-sink/${name}`, import.meta.url))
const stranger = fileURLToPath(new URL('../../support/tls/authority.pem', import.meta.url))
const OWN = readFileSync(pem('ca.pem'), 'utf8')

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-ca-'))
})
const cleanups: Array<() => Promise<unknown>> = []
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  rmSync(dir, { recursive: true })
})

const body = (text: string): string => text.replaceAll(/\s/g, '')
const hasOwn = (ca: readonly string[] | undefined): boolean =>
  ca?.some((one) => body(one) === body(OWN)) ?? false

describe('what is trusted', () => {
  test("Node's alone where the system's bundle adds none", () => {
    writeFileSync(join(dir, 'bundle.pem'), rootCertificates.slice(0, 5).join('\n'))
    expect(systemAuthorities({}, [join(dir, 'bundle.pem')])).toMatchObject({
      ca: undefined,
      failures: [],
    })
    expect(systemAuthorities({}, [join(dir, 'none.pem')])).toMatchObject({
      ca: undefined,
      failures: [],
    })
  })

  test("the system's bundle beside Node's: the first that is there", () => {
    writeFileSync(join(dir, 'bundle.pem'), `# comment\n${rootCertificates[0]}\n${OWN}\n${OWN}`)
    const { ca } = systemAuthorities({}, [join(dir, 'none.pem'), join(dir, 'bundle.pem'), stranger])
    expect(ca).toHaveLength(rootCertificates.length + 1)
    expect(hasOwn(ca)).toBe(true)
  })

  test('SSL_CERT_FILE instead of that bundle, SSL_CERT_DIR and NODE_EXTRA_CA_CERTS beside it', () => {
    const bundles = [stranger]
    expect(hasOwn(systemAuthorities({ SSL_CERT_FILE: pem('ca.pem') }, bundles).ca)).toBe(true)
    expect(systemAuthorities({ SSL_CERT_FILE: pem('ca.pem') }, bundles).ca).toHaveLength(
      rootCertificates.length + 1,
    )
    copyFileSync(pem('ca.pem'), join(dir, '5ed36f99.0'))
    writeFileSync(join(dir, 'README'), 'no certificate')
    const fromFolder = systemAuthorities({ SSL_CERT_DIR: dir }, bundles).ca
    expect(hasOwn(fromFolder)).toBe(true)
    expect(fromFolder).toHaveLength(rootCertificates.length + 2)
    expect(hasOwn(systemAuthorities({ NODE_EXTRA_CA_CERTS: pem('ca.pem') }, bundles).ca)).toBe(true)
  })

  test('what cannot be read is told, and an entry that is no certificate spoils nothing', () => {
    const bad = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
    writeFileSync(join(dir, 'bundle.pem'), bad + OWN)
    const env = {
      SSL_CERT_FILE: join(dir, 'gone.pem'),
      NODE_EXTRA_CA_CERTS: join(dir, 'bundle.pem'),
    }
    const { ca, failures } = systemAuthorities(env, [])
    expect(hasOwn(ca)).toBe(true)
    expect(ca).toHaveLength(rootCertificates.length + 1)
    expect(failures).toEqual([
      expect.stringMatching(/^SSL_CERT_FILE, .*gone\.pem, cannot be read: ENOENT/),
    ])
  })
})

describe('a sink whose authority only the system knows', () => {
  async function start(): Promise<{
    sink: ReturnType<typeof createHttpSink>
    events: SinkEvent[]
  }> {
    const tls = { cert: readFileSync(pem('server.pem')), key: readFileSync(pem('server.key')) }
    const server = await ScriptedSink.start({ tls })
    cleanups.push(() => server.close())
    const events: SinkEvent[] = []
    const sink = createHttpSink({
      name: 'cloud',
      config: sinkConfig(server.url),
      emit: (event) => events.push(event),
    })
    cleanups.push(() => sink.close())
    return { sink, events }
  }

  test('is delivered to', async () => {
    vi.stubEnv('SSL_CERT_FILE', pem('ca.pem'))
    const { sink } = await start()
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
  })

  test('is delivered to with the next try, once the administrator added it', async () => {
    const bundle = join(dir, 'bundle.pem')
    copyFileSync(stranger, bundle)
    vi.stubEnv('SSL_CERT_FILE', bundle)
    const { sink } = await start()
    expect(await sink.send(batchOf(1, 3), never())).toMatchObject({
      kind: 'retry',
      unsent: true,
      detail: expect.stringContaining('authority of the sink is not known here') as string,
    })
    copyFileSync(pem('ca.pem'), bundle)
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
  })

  test('what the environment names and is not there is told, and holds nothing up', async () => {
    vi.stubEnv('SSL_CERT_FILE', join(dir, 'gone.pem'))
    vi.stubEnv('NODE_EXTRA_CA_CERTS', pem('ca.pem'))
    const { sink, events } = await start()
    expect((await sink.send(batchOf(1, 3), never())).kind).toBe('verdicts')
    expect(events).toEqual([
      expect.objectContaining({
        type: 'sink.file-unusable',
        kept: true,
        file: join(dir, 'gone.pem'),
      }),
    ])
  })
})
