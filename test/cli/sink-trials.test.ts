/** `sluice sinks preview`, `test` and `ddl`: without a gateway, and without a data folder. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runCli } from '../../gateway/cli/program.ts'
import { ScriptedSink, type Step } from '../support/scripted-sink.ts'
import { FakeContext } from './fake-context.ts'

let folder: string
let server: ScriptedSink
let context: FakeContext
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-trial-'))
  server = await ScriptedSink.start()
  context = new FakeContext(folder)
})
afterEach(async () => {
  expect(existsSync(join(folder, 'data')), 'no spool was opened').toBe(false)
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

function configure(sink: string, stream = ''): void {
  const text = [
    'gateway: { id: edge-01 }',
    `streams: { telemetry: { topics: ["plant/+/temp"], device: "topic:1"${stream} } }`,
    `sinks: { cloud: { timeout: 5s, ${sink} } }`,
  ]
  writeFileSync(join(folder, 'sluice.yaml'), `${text.join('\n')}\n`)
}

function message(text: string | Uint8Array): string {
  const path = join(folder, 'message')
  writeFileSync(path, text)
  return path
}

async function run(...args: readonly string[]): Promise<number> {
  return await runCli(['sinks', ...args], context)
}

describe('preview', () => {
  test('shows the request that the message would become, and sends nothing', async () => {
    configure(
      `url: "${server.url}", format: { kind: template, text: '{"d":"\${device}","c":\${/celsius}}' }`,
    )
    const topic = ['--topic', 'plant/press-7/temp']
    expect(await run('preview', 'cloud', '--message', message('{"celsius":21.40}'), ...topic)).toBe(
      0,
    )
    expect(context.out).toMatch(/^POST \/ingest HTTP\/1\.1\n/)
    expect(context.out).toContain('sluice-stream: telemetry\n')
    expect(context.out).toMatch(
      /idempotency-key: "edge-01:test[a-z0-9]{12}:telemetry:1-1:[^\n]*:http:template:/,
    )
    expect(context.out).toMatch(/\n\n\{"d":"press-7","c":21\.40\}\n$/)
    expect(server.requests).toHaveLength(0)
  })

  test('says why a record would be refused', async () => {
    configure(`url: "${server.url}", format: { kind: template, text: "\${/celsius}" }`)
    expect(await run('preview', 'cloud', '-m', message('21'))).toBe(0)
    expect(context.out).toBe('record 1 is refused, unmappable: /celsius is missing\n')
  })

  test('of a file sink shows the file; the payload is as its stream takes it', async () => {
    configure('type: file, folder: .', ', payload: text')
    expect(await run('preview', 'cloud', '-m', message('{"a":1}'), '-d', 'dev')).toBe(0)
    expect(context.out).toMatch(/\.telemetry\.[^\n]*\.ndjson\.gz:\n/)
    expect(context.out).toContain('"device":"dev","topic":"plant/example/temp"')
    expect(context.out).toContain('"payload":"{\\"a\\":1}"')
  })

  test('wants a message, a file that is there, a sink and a stream that are', async () => {
    configure(`url: "${server.url}"`)
    const wrong: ReadonlyArray<readonly [readonly string[], number, string]> = [
      [['cloud'], 2, 'add --message FILE'],
      [['cloud', '-m', join(folder, 'none')], 2, 'none cannot be read (ENOENT)'],
      [['clod', '-m', message('1')], 1, 'there is no sink clod: do you mean cloud? [SINK_UNKNOWN]'],
      [['cloud', '-m', message('1'), '-s', 'x'], 1, 'there is no stream x: there is telemetry'],
    ]
    for (const [args, code, said] of wrong) {
      context.err = ''
      expect(await run('preview', ...args)).toBe(code)
      expect(context.err).toContain(said)
    }
  })
})

describe('test', () => {
  test('sends one marked record, under a spool id of its own, and says that it was taken', async () => {
    configure(`url: "${server.url}"`)
    expect(await run('test', 'cloud')).toBe(0)
    const [request] = server.requests
    const { id, payload } = JSON.parse(request?.lines[0] ?? '') as Record<string, unknown>
    expect(request?.lines).toHaveLength(1)
    expect(id).toMatch(/^edge-01:test[a-z0-9]{12}:telemetry:1$/)
    expect(payload).toEqual({ sluice: 'test' })
    expect(context.out).toContain(`record ${String(id)}:\ntaken: `)
    expect(await run('test', 'cloud')).toBe(0)
    expect(server.requests[1]?.headers['sluice-spool']).not.toBe(request?.headers['sluice-spool'])
  })

  test.each<[string, Step, string]>([
    ['503', { status: 503 }, 'would keep it and try again [503]'],
    ['401', { status: 401 }, 'check auth, bearerToken or headers; a gateway would keep everything'],
    ['413', { status: 413 }, 'too large for this sink'],
    ['422', { status: 422, body: 'no such column' }, 'refused: answered 422 (no such column)'],
    ['a rejected record', { body: { rejected: [{ seq: 1, reason: 'old' }] } }, 'refused: old'],
    ['a postponed record', { body: { ackedThrough: 0 } }, 'not taken yet'],
    ['nonsense', { body: { ackedThrough: 'x' } }, 'hold the sink after five in a row'],
  ])('explains %s, and fails', async (_, step, said) => {
    configure(`url: "${server.url}"`)
    server.script = [step]
    expect(await run('test', 'cloud')).toBe(1)
    expect(context.out).toContain(said)
  })

  test('nobody there, and a message of its own that has no place in the format', async () => {
    configure(`url: "http://127.0.0.1:9", format: { kind: template, text: "\${/celsius}" }`)
    expect(await run('test', 'cloud')).toBe(1)
    expect(context.out).toContain('refused: unmappable: /celsius is missing')
    expect(context.out).toContain('--message FILE and --topic TOPIC say what a device sends')
    expect(await run('test', 'cloud', '-m', message('{"celsius":1}'))).toBe(1)
    expect(context.out).toContain('since nobody answered')
  })

  test.each([
    ['mqtt', 'url: "mqtt://127.0.0.1:9", qos: 1', 'nothing listens there'],
    ['postgres', 'url: "postgresql://edge@127.0.0.1:9/plant"', 'nothing listens there'],
    ['nats', 'servers: ["nats://127.0.0.1:9"], jetStream: S', 'is the server running'],
  ])('of type %s says at once that nobody is there', async (type, keys, said) => {
    configure(`type: ${type}, ${keys}`)
    expect(await run('test', 'cloud')).toBe(1)
    expect(context.out).toContain(said)
    expect(context.out).toContain('since nobody answered')
  })

  test('a folder that is looked at all the time is not asked every minute', async () => {
    configure('type: file, folder: none')
    expect(await run('test', 'cloud')).toBe(1)
    expect(context.out).toContain('checked every second; a gateway would keep everything')
    expect(context.out).not.toContain('every minute')
  })

  test('through a file sink is a file, by the name of its record', async () => {
    mkdirSync(join(folder, 'out'))
    configure('type: file, folder: out, compression: gzip, minFreeBytes: 0')
    expect(await run('test', 'cloud')).toBe(0)
    const [name = ''] = readdirSync(join(folder, 'out'))
    expect(name).toMatch(/test[a-z0-9]{12}/)
    const text = gunzipSync(readFileSync(join(folder, 'out', name))).toString()
    expect(text).toContain('"payload":{"sluice":"test"}')
  })

  test('over mqtt is a client beside that of the gateway, by a client id of its own', async () => {
    let seen = ''
    const broker = createServer((socket) =>
      socket.on('data', (bytes) => {
        seen += bytes.toString('latin1')
        // CONNACK: not authorized.
        socket.end(Buffer.from([0x20, 2, 0, 5]))
      }),
    )
    await new Promise<void>((resolve) => broker.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = broker.address() as AddressInfo
      configure(`type: mqtt, url: "mqtt://127.0.0.1:${port}", clientId: box-1, qos: 1`)
      expect(await run('test', 'cloud')).toBe(1)
      expect(seen).toContain('box-1-test')
      expect(context.out).toContain('a gateway would keep everything')
    } finally {
      broker.close()
    }
  })
})

test('ddl of a type that needs no tables says so', async () => {
  configure(`url: "${server.url}"`)
  expect(await run('ddl', 'cloud')).toBe(1)
  expect(context.err).toContain('a sink of type http needs no tables [SINK_HAS_NO_TABLES]')
})
