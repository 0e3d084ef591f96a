/**
 * The log: damping that keeps count, text that outsiders cannot abuse, a reader that cannot harm
 * the gateway.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cleanText, cleanValue, MAX_FIELD_CHARACTERS } from '../../gateway/observe/logs/clean.ts'
import { type LogDestination, openDestination } from '../../gateway/observe/logs/destination.ts'
import { Logs } from '../../gateway/observe/logs/logs.ts'
import { RecentLines } from '../../gateway/observe/logs/recent-lines.ts'
import { LineWriter, MAX_BUFFERED_BYTES } from '../../gateway/shared/output/line-writer.ts'
import { DAMPING_WINDOW_MS, Damping, MAX_KEYS } from '../../gateway/shared/time/damping.ts'

describe('damping', () => {
  test('I9: one line a key and minute, and the next one says how many were held back', () => {
    const damping = new Damping<string>()
    expect(damping.admit('a', '', 'l', 0)).toEqual({ pass: true, suppressed: 0 })
    expect(damping.admit('a', '', 'l', 1)).toEqual({ pass: false, suppressed: 0 })
    expect(damping.admit('b', '', 'l', 2)).toEqual({ pass: true, suppressed: 0 })
    expect(damping.admit('a', '', 'l', DAMPING_WINDOW_MS - 1)).toEqual({
      pass: false,
      suppressed: 0,
    })
    expect(damping.admit('a', '', 'l', DAMPING_WINDOW_MS)).toEqual({ pass: true, suppressed: 2 })
  })

  test('I9: the sweep hands out the last line of a key that fell quiet, and how many were held back besides', () => {
    const damping = new Damping<string>()
    for (const line of ['first', 'second', 'third']) damping.admit('a', '', line, 0)
    expect(damping.sweep(DAMPING_WINDOW_MS - 1)).toEqual([])
    expect(damping.sweep(DAMPING_WINDOW_MS)).toEqual([{ last: 'third', suppressed: 1 }])
    expect(damping.sweep(DAMPING_WINDOW_MS * 9)).toEqual([])
  })

  test('I6: keys that outsiders choose do not grow its memory without end', () => {
    const damping = new Damping<number>()
    let logged = 0
    for (let i = 0; i < MAX_KEYS * 10; i++)
      if (damping.admit(`client ${i}`, 'all', i, 0).pass) logged++
    expect(logged).toBe(MAX_KEYS + 1)
    const held = damping
      .sweep(DAMPING_WINDOW_MS)
      .reduce((sum, { suppressed }) => sum + suppressed + 1, 0)
    expect(held).toBe(MAX_KEYS * 10 - logged)
  })

  test('I9: over any run, lines logged and lines reported as held back are all the lines there were', () => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c'),
      waitMs: fc.nat(DAMPING_WINDOW_MS),
      sweep: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const damping = new Damping<null>()
        let nowMs = 0
        let accounted = 0
        for (const { key, waitMs, sweep } of steps) {
          nowMs += waitMs
          if (sweep) for (const { suppressed } of damping.sweep(nowMs)) accounted += suppressed + 1
          const { pass, suppressed } = damping.admit(key, '', null, nowMs)
          accounted += suppressed + (pass ? 1 : 0)
        }
        for (const { suppressed } of damping.sweep(nowMs + DAMPING_WINDOW_MS))
          accounted += suppressed + 1
        expect(accounted).toBe(steps.length)
      }),
    )
  })
})

describe('what outsiders chose', () => {
  test('cannot forge a line or drive a terminal', () => {
    expect(cleanText('a\nFAKE\u001b[2J\u0085\u202eb\u2028')).toBe(
      'a\\u000aFAKE\\u001b[2J\\u0085\\u202eb\\u2028',
    )
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(cleanText(text)).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u)
      }),
    )
  })

  test('is cut at a length, a depth and a number of items', () => {
    expect(cleanText('x'.repeat(10_000))).toHaveLength(MAX_FIELD_CHARACTERS + 1)
    let deep: unknown = 'end'
    for (let i = 0; i < 10_000; i++) deep = [deep]
    expect(JSON.stringify(cleanValue(deep)).length).toBeLessThan(20)
    expect(cleanValue(Array.from({ length: 60 }, () => 1))).toHaveLength(51)
  })

  test('credentials in URLs and members named like secrets are hidden', () => {
    expect(cleanText('cannot reach https://user:hunter2@cloud.example/in')).toBe(
      'cannot reach https://***@cloud.example/in',
    )
    const cleaned = cleanValue({
      headers: { Authorization: 'Bearer abc' },
      password: 'x',
      bearerToken: 'y',
      n: 1,
    })
    expect(cleaned).toEqual({
      headers: { Authorization: '***' },
      password: '***',
      bearerToken: '***',
      n: 1,
    })
  })
})

const STARTED_AT_MS = Date.UTC(2026, 10, 23, 3, 5)

function memoryLog(level: 'debug' | 'info' | 'warn' = 'info') {
  const lines: Record<string, unknown>[] = []
  const destination: LogDestination = {
    stream: {
      write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>),
    },
    droppedLines: () => 0,
    flush: () => Promise.resolve(),
  }
  let nowMs = 0
  const logs = new Logs({
    level,
    destination,
    monotonicMs: () => nowMs,
    nowMs: () => STARTED_AT_MS + nowMs,
  })
  return { logs, lines, advance: (ms: number) => (nowMs += ms) }
}

describe('notes', () => {
  test('are damped by key, and sweep and stop leave none uncounted', async () => {
    const { logs, lines, advance } = memoryLog()
    for (let i = 0; i < 5; i++)
      logs.note('warn', 'k', 'admin request refused', { remote: '127.0.0.1' })
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatchObject({
      level: 'warn',
      msg: 'admin request refused',
      remote: '127.0.0.1',
    })
    expect(logs.suppressedLines).toBe(4)
    advance(DAMPING_WINDOW_MS)
    logs.sweep()
    expect(lines[1]).toMatchObject({ suppressed: 3 })
    for (let i = 0; i < 3; i++) logs.note('warn', 'k', 'admin request refused')
    await logs.stop()
    expect(lines.at(-1)).toMatchObject({ suppressed: 1 })
  })

  test('one that was held back alone comes as it was, with the time at which it happened', async () => {
    const { logs, lines, advance } = memoryLog()
    logs.note('warn', 'k', 'first')
    advance(1_000)
    logs.note('warn', 'k', 'second')
    advance(5_000)
    await logs.stop()
    expect(lines).toEqual([
      { level: 'warn', time: '2026-11-23T03:05:00.000Z', msg: 'first' },
      { level: 'warn', time: '2026-11-23T03:05:01.000Z', msg: 'second' },
    ])
  })

  test('below the level are not written', async () => {
    const { logs, lines } = memoryLog('warn')
    logs.note('info', 'k', 'hello')
    expect(lines).toEqual([])
    await logs.stop()
  })
})

describe('the destination', () => {
  let folder = ''
  let pipe = ''
  let reader = -1
  let writer = -1

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-log-'))
    pipe = join(folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
    writer = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK)
  })

  afterEach(async () => {
    if (reader >= 0) closeSync(reader)
    closeSync(writer)
    await rm(folder, { recursive: true })
  })

  test('I6: with a reader that stalls it keeps at most its bound, drops and counts the rest, and does not wait', async () => {
    const lines = new LineWriter(writer)
    const line = `${'x'.repeat(1023)}\n`
    const count = (4 * MAX_BUFFERED_BYTES) / line.length
    for (let i = 0; i < count; i++) lines.write(line)
    expect(lines.droppedLines).toBe(count - MAX_BUFFERED_BYTES / line.length)
    const beganMs = performance.now()
    await lines.flush(100)
    expect(performance.now() - beganMs).toBeLessThan(5_000)
    closeSync(reader)
    reader = -1
    await lines.flush(5_000)
    const pipeHolds = 65_536 / line.length
    expect(lines.droppedLines).toBeGreaterThanOrEqual(count - pipeHolds)
  })

  test('goes on in order once the reader reads again, losing nothing that it had taken', async () => {
    const lines = new LineWriter(writer)
    const taken = 20_000
    for (let i = 0; i < taken; i++) lines.write(`line ${i}\n`)
    expect(lines.droppedLines).toBe(0)
    const flushed = lines.flush(20_000)
    let text = ''
    const buffer = Buffer.alloc(65_536)
    const reading = setInterval(() => {
      try {
        text += buffer.toString('latin1', 0, readSync(reader, buffer))
      } catch {}
    }, 1)
    await flushed
    await expect.poll(() => text.split('\n').length - 1).toBe(taken)
    clearInterval(reading)
    expect(text).toBe(Array.from({ length: taken }, (_, i) => `line ${i}\n`).join(''))
  })

  test('a reader that went away costs lines, counted, and nothing else', async () => {
    closeSync(reader)
    reader = -1
    const lines = new LineWriter(writer)
    lines.write('one\n')
    await lines.flush(5_000)
    lines.write('two\n')
    await lines.flush(5_000)
    expect(lines.droppedLines).toBe(2)
  })

  test('a line for a person says nothing twice: members that the sentence has are left out', async () => {
    const file = join(folder, 'log')
    const fd = openSync(file, 'w')
    const terminal = { isTty: true, hasColor: false }
    const logs = new Logs({
      level: 'info',
      destination: await openDestination('auto', fd, terminal),
    })
    logs.note('info', 'k', 'sink cloud is held: HTTP 401', { sink: 'cloud', status: 401, tries: 7 })
    await logs.stop()
    closeSync(fd)
    expect(readFileSync(file, 'utf8')).toMatch(
      /INFO: sink cloud is held: HTTP 401 \{"tries":7\}\n$/,
    )
  })

  test('writes pretty lines without colours to a file, and JSON by default', async () => {
    const file = join(folder, 'log')
    for (const [format, expected] of [
      ['pretty', /INFO.*: hello/],
      ['auto', /^\{"level":"info","time":"\d{4}-.*"msg":"hello"\}$/m],
    ] as const) {
      const fd = openSync(file, 'w')
      const logs = new Logs({
        level: 'info',
        destination: await openDestination(format, fd, { isTty: false, hasColor: false }),
      })
      logs.note('info', 'k', 'hello')
      await logs.stop()
      closeSync(fd)
      expect(readFileSync(file, 'utf8')).toMatch(expected)
    }
  })
})

describe('events', () => {
  test('each gets a line with its level, its meaning and its members', () => {
    const { logs, lines } = memoryLog()
    logs.emit({
      type: 'spool.opened',
      spoolId: 'k3f9',
      clean: false,
      pendingRecords: 7,
      durationMs: 1_234,
    })
    logs.emit({ type: 'spool.disk-low', freeBytes: 100 * 1024 ** 2, minFreeBytes: 256 * 1024 ** 2 })
    expect(lines).toEqual([
      expect.objectContaining({
        level: 'info',
        event: 'spool.opened',
        pendingRecords: 7,
        msg: 'spool k3f9 opened in 1.2 s, after an unclean end; 7 records wait',
      }),
      expect.objectContaining({
        level: 'error',
        msg: '100 MiB of disk are free, 256 MiB are wanted: ingest is closed, delivery goes on (I6)',
      }),
    ])
  })

  test('one of a thing is told as one, and times have no fifteen digits', () => {
    const { logs, lines } = memoryLog()
    logs.emit({
      type: 'spool.opened',
      spoolId: 'k3f9',
      clean: true,
      pendingRecords: 1,
      durationMs: 3,
    })
    logs.emit({
      type: 'drain.recovered',
      sink: 'cloud',
      stream: null,
      outageMs: 10_840.59761099983,
    })
    expect(lines.map(({ msg, outageMs }) => [msg, outageMs])).toEqual([
      ['spool k3f9 opened in 3 ms; 1 record waits', undefined],
      ['sink cloud takes batches again after 11 s', 10_840.598],
    ])
  })

  test('are damped where they repeat, per stream, and all are counted by type', () => {
    const { logs, lines } = memoryLog()
    for (const stream of ['a', 'a', 'b', 'a'])
      logs.emit({ type: 'spool.stream-full', stream, whenFull: 'block', maxBytes: 1024 })
    expect(lines.map((line) => line['stream'])).toEqual(['a', 'b'])
    expect(logs.events).toEqual({ 'spool.stream-full': 4 })
    expect(logs.suppressedLines).toBe(2)
  })

  test('I8: a hold is an error that names sink, stream and reason; what follows from it is told once', () => {
    const { logs, lines } = memoryLog()
    const held = {
      type: 'drain.held',
      sink: 'cloud',
      reason: 'answer',
      status: 401,
      detail: 'HTTP 401',
    } as const
    logs.emit({ ...held, stream: null })
    logs.emit({ ...held, stream: 'alarms' })
    expect(lines.map(({ level, msg }) => `${level as string}: ${msg as string}`)).toEqual([
      'error: sink cloud is held, nothing is lost (I8): HTTP 401',
      'error: stream alarms of sink cloud is held, nothing is lost (I8): HTTP 401',
    ])
  })

  test('carry what a client chose without harm', () => {
    const { logs, lines } = memoryLog()
    logs.emit({
      type: 'broker.message-unrouted',
      clientId: 'evil\n{"level":"error","msg":"forged"}',
      topic: '\u001b[31m',
      policy: 'accept',
      nearest: 'plant/#',
      suppressed: 3,
    })
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatchObject({ level: 'warn', topic: '\\u001b[31m', suppressed: 3 })
    expect(lines[0]?.['msg']).toContain('; the closest filter of a stream is plant/#')
  })
})

test('I6: the last lines that are kept have a bound, and are whole', () => {
  const recent = new RecentLines(100)
  for (let i = 0; i < 1_000; i += 1) recent.push(`{"n":${i}}\n`)
  const lines = recent.text.trimEnd().split('\n')
  expect(recent.text.length).toBeLessThanOrEqual(100)
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(
    lines.map((_, i) => ({ n: 1_000 - lines.length + i })),
  )
  expect(lines.length).toBeGreaterThan(5)
})
