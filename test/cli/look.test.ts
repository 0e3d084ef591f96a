/**
 * What shows and writes out what a gateway holds: `spool peek` and `export`, `dead-letters export`,
 * `status --watch`, and `--json`, on a real gateway whose sink does not answer.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LETTER_HEADER, letterRow, RECORD_HEADER, recordRow } from '../../gateway/cli/export/csv.ts'
import { Screen } from '../../gateway/cli/text/screen.ts'
import type { DeadLetter } from '../../gateway/ports/operator.ts'
import type { Status, StreamStatus } from '../../gateway/ports/status.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { type ProcessLine, reapProcesses, runProgram, startProgram } from '../support/process.ts'
import { testWithTool } from '../support/tool-tests.ts'

/** Rows as dictionaries, by the reader of Python's standard library. */
function readCsv(text: string): Array<Readonly<Record<string, string>>> {
  const program =
    'import csv, io, json, sys; print(json.dumps(list(csv.DictReader(io.StringIO(sys.stdin.buffer.read().decode(), newline="")))))'
  return JSON.parse(execFileSync('python3', ['-c', program], { input: text }).toString())
}

describe('CSV', () => {
  testWithTool(
    'python3',
    'has each member of a record in its column, and payloads as they were written',
    () => {
      const head =
        '{"id":"edge-01:k3:t:7","seq":7,"device":"a,\\"b\\"","topic":"x\\n,\\"payload\\":y","qos":1,"receivedAt":"2026-11-28T00:00:00.000Z"'
      const lines = [
        `${head},"payload":{"n":1.0,"big":12345678901234567890,"t":"a\\nb, \\"c\\""}}`,
        `${head},"dup":true,"contentType":"text/plain","userProperties":[["a","payload"],["payload","b"]],"payload":"=1+1"}`,
        `${head},"requeuedFrom":"edge-01:k3:t:d1","payloadBase64":"AAEC"}`,
        `${head},"payload":null}`,
      ]
      const rows = readCsv(RECORD_HEADER + lines.map(recordRow).join(''))
      expect(rows.map(({ payload }) => payload)).toEqual([
        '{"n":1.0,"big":12345678901234567890,"t":"a\\nb, \\"c\\""}',
        '"=1+1"',
        '',
        'null',
      ])
      expect(rows.map(({ payloadBase64 }) => payloadBase64)).toEqual(['', '', 'AAEC', ''])
      for (const row of rows)
        expect(row).toMatchObject({ id: 'edge-01:k3:t:7', seq: '7', device: 'a,"b"', qos: '1' })
      expect(rows[0]?.['topic']).toBe('x\n,"payload":y')
      expect(rows[1]).toMatchObject({ dup: 'true', retain: '' })
      expect(JSON.parse(rows[1]?.['more'] ?? '')).toEqual({
        contentType: 'text/plain',
        userProperties: [
          ['a', 'payload'],
          ['payload', 'b'],
        ],
      })
      expect(rows[2]?.['requeuedFrom']).toBe('edge-01:k3:t:d1')
    },
  )

  testWithTool('python3', 'has a row for a dead letter, its record whole', () => {
    const letter: DeadLetter = {
      id: 'edge-01:k3:t:d1',
      stream: 't',
      origin: 'ingest',
      status: null,
      reason: 'no JSON,\nas the stream wants',
      deadLetteredAtMs: Date.UTC(2026, 10, 28),
      bytes: 12,
      truncated: false,
      record: '{"seq":1,"payload":"a\\"b"}',
    }
    expect(readCsv(LETTER_HEADER + letterRow(letter))).toEqual([
      {
        id: 'edge-01:k3:t:d1',
        stream: 't',
        refusedBy: 'stream',
        status: '',
        reason: 'no JSON,\nas the stream wants',
        deadLetteredAt: '2026-11-28T00:00:00.000Z',
        bytes: '12',
        truncated: 'false',
        record: '{"seq":1,"payload":"a\\"b"}',
      },
    ])
  })
})

describe('a picture that is drawn again', () => {
  const drawn = (isTTY: boolean, env: Record<string, string>): string => {
    let out = ''
    const screen = new Screen({ isTTY, write: (text) => void (out += text) }, env)
    screen.draw('one\ntwo\n')
    screen.draw('three\n')
    return out
  }

  test('goes over the last one on a terminal', () => {
    expect(drawn(true, { TERM: 'xterm' })).toBe(
      '\u001B[2J\u001B[Hone\u001B[K\ntwo\u001B[K\n\u001B[J\u001B[Hthree\u001B[K\n\u001B[J',
    )
  })

  test('goes below it in a pipe, and on a terminal that is dumb', () => {
    expect(drawn(false, { TERM: 'xterm' })).toBe('one\ntwo\n\nthree\n')
    expect(drawn(true, { TERM: 'dumb' })).toBe('one\ntwo\n\nthree\n')
  })
})

describe('a gateway whose sink does not answer', () => {
  let folder: string
  let gateway: GatewayProcess
  let config: readonly string[]
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-look-'))
    gateway = await GatewayProcess.start({
      folder,
      sinkUrl: 'http://127.0.0.1:9/ingest',
      sections: {
        streams: {
          telemetry: { topics: ['plant/#'] },
          strict: { topics: ['json/#'], payload: 'json' },
        },
      },
    })
    config = ['--config', gateway.configPath]
  })
  afterEach(async () => {
    await reapProcesses()
    rmSync(folder, { recursive: true, force: true })
  })

  async function publish(messages: number): Promise<void> {
    const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
      clientId: 'press-7',
    })
    for (let n = 1; n <= messages; n += 1)
      await device.publishAsync('plant/press-7/temp', `{"celsius":${n}.50}`, { qos: 1 })
    await device.publishAsync('plant/press-7/raw', Buffer.from([0, 1, 2]), { qos: 1 })
    await device.publishAsync('json/press-7', 'no JSON', { qos: 1 })
    await device.endAsync()
  }

  async function run(...args: readonly string[]) {
    const { exit, stdout, stderr } = await runProgram('gateway', [...args, ...config])
    return { code: exit.code, stdout, stderr }
  }

  test('spool peek shows what is sent next, and takes nothing; export writes all of it in both forms', async () => {
    await publish(12)
    const peek = await run('spool', 'peek', 'telemetry', '-n', '2')
    expect(peek.stdout).toMatch(
      /^SEQ +RECEIVED +DEVICE +TOPIC +SIZE +PAYLOAD\n +1 +\S+ +press-7 +plant\/press-7\/temp +\d+ B +\{"celsius":1\.5\}\n/,
    )
    expect(peek.stdout.trimEnd().split('\n')).toHaveLength(3)
    const json = await run('spool', 'peek', 'telemetry', '--json')
    const exported = await run('spool', 'export', 'telemetry')
    const lines = exported.stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(13)
    expect(exported.stderr).toContain('exported 13 records of stream telemetry')
    expect(json.stdout).toBe(`${lines.slice(0, 10).join('\n')}\n`)
    expect((await run('streams', 'export', 'telemetry')).stdout).toBe(exported.stdout)
    const out = join(folder, 'telemetry.csv')
    const csv = await run('spool', 'export', 'telemetry', '--format', 'csv', '--out', out)
    expect(csv).toMatchObject({ code: 0, stdout: '' })
    expect(statSync(out).mode & 0o777).toBe(0o600)
    expect(readFileSync(out, 'utf8')).toBe(RECORD_HEADER + lines.map(recordRow).join(''))
    expect(readFileSync(out, 'utf8')).toContain('"{""celsius"":12.50}"')
    expect(await run('spool', 'export', 'telemetry', '--format', 'xml')).toMatchObject({ code: 2 })
    expect(await run('spool', 'peek', 'nowhere')).toMatchObject({ code: 1 })
    await gateway.stop()
    expect((await run('spool', 'export', 'telemetry')).stdout).toBe(exported.stdout)
    expect((await run('spool', 'peek', 'strict')).stdout).toBe('nothing waits\n')
  })

  test('dead-letters export writes those of all streams, as lines and as rows', async () => {
    await publish(1)
    const ndjson = await run('dead-letters', 'export')
    const letters = ndjson.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as DeadLetter)
    expect(letters).toMatchObject([{ stream: 'strict', origin: 'ingest' }])
    expect(ndjson.stderr).toContain('exported 1 dead letter; nothing was removed')
    const csv = await run('dead-letters', 'export', '-f', 'csv', '--stream', 'strict')
    expect(csv.stdout).toBe(LETTER_HEADER + letters.map(letterRow).join(''))
    const [letter] = letters
    const shown = await run('dead-letters', 'show', letter?.id ?? '', '--json')
    expect(JSON.parse(shown.stdout)).toEqual(letter)
    expect((await run('dead-letters', 'export', '--stream', 'telemetry')).stdout).toBe('')
  })

  test('--json says the same as the text, in commands that look', async () => {
    await publish(3)
    const { streams } = JSON.parse((await run('status', '--json')).stdout) as Status
    const listed = JSON.parse((await run('streams', 'list', '--json')).stdout) as StreamStatus[]
    expect(listed.map(({ name, counters }) => [name, counters.received])).toEqual(
      streams.map(({ name, counters }) => [name, counters.received]),
    )
    expect(JSON.parse((await run('streams', 'orphans', '--json')).stdout)).toEqual([])
    const tried = await run('sinks', 'test', 'cloud', '--json')
    expect(tried.code).toBe(1)
    expect(JSON.parse(tried.stdout)).toMatchObject({
      sink: 'cloud',
      taken: false,
      answer: { kind: 'retry' },
    })
    const check = await run('check', '--json', '--try')
    expect(check.code).toBe(1)
    expect(JSON.parse(check.stdout)).toMatchObject({
      file: gateway.configPath,
      problems: [],
      faults: [{ code: 'SINK_NOT_READY' }],
      outages: [{ stream: 'telemetry' }, { stream: 'strict' }],
    })
    await gateway.stop()
    const verified = await run('spool', 'verify', '--json')
    expect(JSON.parse(verified.stdout)).toMatchObject({ missing: 0, damage: [] })
    expect(JSON.parse((await run('spool', 'restore-aside', '--json')).stdout)).toEqual([])
  })

  test('check --json has a configuration that is refused as an answer, with exit code 2', async () => {
    const { exit, stdout } = await runProgram('gateway', ['check', '--json', ...config], {
      env: { SLUICE__MQTT__UNROUTED: 'refus' },
    })
    expect(exit.code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({
      problems: [{ code: 'CONFIG_BAD_VALUE', key: 'mqtt.unrouted', fix: 'write refuse' }],
    })
  })

  test('status --watch says it again and again, also that the gateway is gone, until Ctrl-C', async () => {
    const watch = startProgram('gateway', ['status', '--watch', '1', '--json', ...config])
    const isUp = ({ from, text }: ProcessLine, since = ''): boolean => {
      if (from !== 'stdout') return false
      const { gateway: id, at = '' } = JSON.parse(text) as Partial<Status>
      return id === 'edge-01' && at > since
    }
    await watch.waitForLine((line) => isUp(line))
    await gateway.stop()
    const gone = await watch.waitForLine('no gateway runs here')
    const { at } = JSON.parse(gone.text) as { at: string }
    await gateway.start()
    await watch.waitForLine((line) => isUp(line, at))
    watch.kill('SIGINT')
    expect(await watch.waitForExit()).toMatchObject({ code: 0 })
    expect(watch.stderr).toBe('')
    const pipe = startProgram('gateway', ['status', '-w', ...config])
    await pipe.waitForLine(/^gateway edge-01/)
    pipe.kill('SIGTERM')
    expect(await pipe.waitForExit()).toMatchObject({ code: 0 })
    expect(pipe.stdout).not.toContain('\u001B')
  })
})
