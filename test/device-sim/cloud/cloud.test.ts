/**
 * The reference cloud over real HTTP and files: the rule, repeats, restarts, kill -9, gaps, what it
 * shows.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { appendFile, truncate } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Cloud, type CloudOptions } from '../../../device-sim/cloud/cloud.ts'
import { readStore, readStoreNotes } from '../../../device-sim/cloud/store/store.ts'
import { reapProcesses, startProcess } from '../../support/process.ts'
import { line, post, postIsCut, QUEUE, range } from './client.ts'

let dir = ''
const clouds: Cloud[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-cloud-'))
})
afterEach(async () => {
  await reapProcesses()
  for (const cloud of clouds.splice(0)) await cloud.close()
  rmSync(dir, { recursive: true })
})

async function start(options: Partial<CloudOptions> = {}): Promise<Cloud> {
  const cloud = await Cloud.start({ dir, ...options })
  clouds.push(cloud)
  return cloud
}

async function storedSeqs(folder = dir): Promise<number[]> {
  const seqs: number[] = []
  for await (const one of readStore(folder))
    seqs.push((JSON.parse(one.line.toString()) as { seq: number }).seq)
  return seqs
}

const queueFolder = (): string => join(dir, QUEUE.gateway, QUEUE.spool, QUEUE.stream)
const segments = (): string[] =>
  readdirSync(queueFolder())
    .filter((name) => name.endsWith('.ndjson'))
    .sort()

describe('exactly once with one number', () => {
  test('a batch is stored with its bytes unchanged, and acked through its last seq', async () => {
    const cloud = await start()
    const payload = (): string => '{"n":1234567890.1234567890123456789,"e":1E+2}'
    expect(await post(cloud.url, range(1, 3), { payload })).toMatchObject({
      status: 200,
      ackedThrough: 3,
      rejected: [],
    })
    const lines = []
    for await (const one of readStore(dir)) lines.push(one)
    expect(lines.map((one) => one.line.toString())).toEqual(
      range(1, 3).map((seq) => line(seq, { payload })),
    )
    expect(lines[0]).toMatchObject(QUEUE)
  })

  test('I4: a repeated batch is acked again and stored once; an overlapping one adds what is new', async () => {
    const cloud = await start()
    await post(cloud.url, range(1, 5))
    expect(await post(cloud.url, range(1, 5))).toMatchObject({ status: 200, ackedThrough: 5 })
    expect(await post(cloud.url, range(4, 8))).toMatchObject({ status: 200, ackedThrough: 8 })
    expect(await post(cloud.url, range(1, 3))).toMatchObject({ status: 200, ackedThrough: 3 })
    expect(await storedSeqs()).toEqual(range(1, 8))
    expect(cloud.stats).toMatchObject({
      records: 8,
      stored: 8,
      repeats: 10,
      batches: 2,
      violations: 0,
    })
  })

  test('the same batch many times at once is stored once', async () => {
    const cloud = await start()
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => post(cloud.url, range(1, 50))),
    )
    expect(answers.every((one) => one.ackedThrough === 50)).toBe(true)
    expect(await storedSeqs()).toEqual(range(1, 50))
  })

  test('queues do not touch each other: gateway, spool and stream each make another one', async () => {
    const cloud = await start()
    await Promise.all([
      post(cloud.url, range(1, 3)),
      post(cloud.url, range(1, 4), { gateway: 'edge-02' }),
      post(cloud.url, range(1, 5), { spool: 'other1' }),
      post(cloud.url, range(1, 6), { stream: 'alarms' }),
    ])
    expect(cloud.stats.queues.map((queue) => queue.highest).sort((a, b) => a - b)).toEqual([
      3, 4, 5, 6,
    ])
    expect(cloud.stats).toMatchObject({ records: 18, repeats: 0, violations: 0 })
  })

  test('an uncompressed body and members in another order are understood', async () => {
    const cloud = await start()
    const mangle = (lines: string[]): string =>
      lines
        .map((one) => `${JSON.stringify({ later: true, ...(JSON.parse(one) as object) })}\n`)
        .join('')
    expect(await post(cloud.url, range(1, 3), { encoding: 'identity', mangle })).toMatchObject({
      ackedThrough: 3,
    })
    expect(cloud.stats.violations).toBe(0)
  })
})

describe('what breaks the contract is never acked', () => {
  test.each([
    ['another contract', { headers: { 'Sluice-Contract': '2' } }, 415],
    ['another type', { headers: { 'Content-Type': 'application/json' } }, 415],
    ['another encoding', { headers: { 'Content-Encoding': 'br' } }, 415],
    ['no stream', { headers: { 'Sluice-Stream': null } }, 400],
    ['a stream that leaves its folder', { headers: { 'Sluice-Stream': '../x' } }, 400],
    ['no key', { headers: { 'Idempotency-Key': null } }, 400],
    [
      'a key without quotes',
      { headers: { 'Idempotency-Key': 'edge-01:k3f9x2m7q4w8z:telemetry:1-3:00000000' } },
      400,
    ],
    [
      'a checksum that does not fit',
      { headers: { 'Idempotency-Key': '"edge-01:k3f9x2m7q4w8z:telemetry:1-3:00000000"' } },
      500,
    ],
    ['another count', { headers: { 'Sluice-Record-Count': '2' } }, 400],
    [
      'a body that is not gzip',
      { encoding: 'identity', headers: { 'Content-Encoding': 'gzip' } },
      400,
    ],
    ['a line that is no record', { mangle: () => `${line(1)}\noops\n${line(3)}\n` }, 400],
    ['a gap that is none', { gaps: 'all' }, 400],
  ] as const)('%s', async (_, options, status) => {
    const cloud = await start()
    expect((await post(cloud.url, range(1, 3), options)).status).toBe(status)
    expect(cloud.stats).toMatchObject({ records: 0, violations: 1 })
    expect(cloud.stats.violationExamples).toHaveLength(1)
    expect(await post(cloud.url, range(1, 3))).toMatchObject({ ackedThrough: 3 })
  })

  test('a body over the limit is 413, compressed or inflated', async () => {
    const cloud = await start({ maxBodyBytes: 2000 })
    expect((await post(cloud.url, range(1, 100), { encoding: 'identity' })).status).toBe(413)
    expect((await post(cloud.url, range(1, 100))).status).toBe(413)
    expect(await post(cloud.url, range(1, 5))).toMatchObject({ ackedThrough: 5 })
  })

  test('without the bearer token nothing is stored', async () => {
    const cloud = await start({ bearerToken: 's3cret' })
    expect((await post(cloud.url, range(1, 3))).status).toBe(401)
    const headers = { Authorization: 'Bearer s3cret' }
    expect(await post(cloud.url, range(1, 3), { headers })).toMatchObject({ ackedThrough: 3 })
  })
})

describe('restarts', () => {
  test('the number survives a clean restart, over several segments', async () => {
    const first = await start({ segmentBytes: 1000 })
    for (let at = 1; at <= 40; at += 4) await post(first.url, range(at, at + 3))
    await first.close()
    expect(segments().length).toBeGreaterThan(3)
    const second = await start({ segmentBytes: 1000 })
    expect(second.stats).toMatchObject({ records: 40, tornBytes: 0 })
    expect(await post(second.url, range(38, 42))).toMatchObject({ ackedThrough: 42 })
    expect(second.stats.repeats).toBe(3)
    expect(await storedSeqs()).toEqual(range(1, 42))
  })

  test.each([
    ['half a line', async (path: string) => appendFile(path, line(4).slice(0, 60))],
    [
      'zeroes, as a power cut leaves them',
      async (path: string) => appendFile(path, Buffer.alloc(300)),
    ],
    [
      'zeroes with line ends',
      async (path: string) => appendFile(path, Buffer.from('\0\0\0\n\0\0\n')),
    ],
    [
      'a cut in the middle of the last line',
      async (path: string) => truncate(path, readFileSync(path).length - 10),
    ],
  ])('a torn tail is cut at opening: %s', async (_, tear) => {
    const first = await start()
    await post(first.url, range(1, 3))
    await first.close()
    await tear(join(queueFolder(), segments()[0] ?? ''))
    const second = await start()
    expect(second.stats.tornBytes).toBeGreaterThan(0)
    expect(await post(second.url, range(1, 6))).toMatchObject({ ackedThrough: 6 })
    expect(await storedSeqs()).toEqual(range(1, 6))
  })

  test('what was acked is there after kill -9, at any moment, and a repeat adds nothing twice', async () => {
    const built = fileURLToPath(new URL('../../../dist/device-sim/cloud/cloud.js', import.meta.url))
    expect(existsSync(built), 'npm run build comes first').toBe(true)
    const program = `
      import { Cloud } from ${JSON.stringify(pathToFileURL(built).href)}
      const cloud = await Cloud.start({ dir: process.argv[1], segmentBytes: 20000 })
      console.log(cloud.url)`
    let next = 1
    for (let round = 0; round < 4; round += 1) {
      const child = startProcess(process.execPath, ['--input-type=module', '-e', program, dir])
      const url = (await child.waitForLine(/^http/)).text
      let acked = next - 1
      let from = next
      const victim = (async () => {
        for (;;) {
          const answer = await post(url, range(from, from + 49))
          acked = answer.ackedThrough ?? acked
          from += 50
          if (acked - next > 300 + round * 170) child.kill('SIGKILL')
        }
      })()
      await expect(victim).rejects.toThrow()
      expect(await child.exited).toMatchObject({ signal: 'SIGKILL' })
      const seqs = await storedSeqs()
      expect(seqs).toEqual(range(1, seqs.length))
      expect(seqs.length).toBeGreaterThanOrEqual(acked)
      next = acked + 1
    }
    const cloud = await start()
    expect(await post(cloud.url, range(next, next + 49))).toMatchObject({ ackedThrough: next + 49 })
    const seqs = await storedSeqs()
    expect(seqs).toEqual(range(1, seqs.length))
  })
})

describe('gaps', () => {
  test('reported ones are kept across a restart, also those of an earlier identity', async () => {
    const first = await start()
    await post(first.url, range(1, 2))
    await post(first.url, range(6, 7), { gaps: '3-5;reason=expired, 8-9;reason=unused;spool=old1' })
    await first.close()
    const second = await start()
    await post(second.url, range(8, 9), { gaps: '3-5;reason=expired' })
    const notes = (await readStoreNotes(dir)).filter((one) => one.note.note === 'gap')
    expect(notes.map((one) => [one.spool, one.note.first, one.note.last])).toEqual([
      [QUEUE.spool, 3, 5],
      ['old1', 8, 9],
    ])
    expect(second.stats).toMatchObject({ gaps: 0, missingSeqs: 0, violations: 0 })
  })

  test('a missing seq is an alarm once a later gap-free batch was acked, not before, also across a restart', async () => {
    const first = await start()
    await post(first.url, range(1, 2))
    await post(first.url, [5, 6])
    await post(first.url, [5, 6])
    expect(first.stats).toMatchObject({ missingSeqs: 0 })
    expect(first.stats.queues[0]).toMatchObject({ unexplainedSeqs: 2 })
    await first.close()
    const second = await start()
    await post(second.url, range(7, 8))
    expect(second.stats.missingSeqs).toBe(2)
    await post(second.url, range(9, 9), { gaps: '3-4;reason=dead-lettered' })
    expect(second.stats.missingSeqs).toBe(0)
  })

  test('an answer that was lost is no ack: the alarm waits for one that was given', async () => {
    const cloud = await start()
    await post(cloud.url, [2])
    cloud.faults.add({ kind: 'lost-answer', count: 1 })
    expect(await postIsCut(cloud.url, [3])).toBe(true)
    expect(cloud.stats.missingSeqs).toBe(0)
    await post(cloud.url, [3])
    expect(cloud.stats.missingSeqs).toBe(1)
  })

  test('a record inside a gap that was reported before is a violation, and is stored all the same', async () => {
    const cloud = await start()
    await post(cloud.url, [1], { gaps: '2-4;reason=expired' })
    expect(await post(cloud.url, [3])).toMatchObject({ ackedThrough: 3 })
    expect(cloud.stats).toMatchObject({ violations: 1, records: 2 })
  })
})

describe('what it shows', () => {
  test('GET /records gives lines behind a seq, of a stream, up to a limit', async () => {
    const cloud = await start({ segmentBytes: 1000 })
    for (let at = 1; at <= 40; at += 4) await post(cloud.url, range(at, at + 3))
    await post(cloud.url, range(1, 2), { stream: 'alarms' })
    const get = async (query: string): Promise<number[]> => {
      const text = await (await fetch(`${cloud.adminUrl}/records?${query}`)).text()
      return text
        .split('\n')
        .slice(0, -1)
        .map((one) => (JSON.parse(one) as { seq: number }).seq)
    }
    expect(await get('stream=telemetry&after=35')).toEqual([36, 37, 38, 39, 40])
    expect(await get('stream=telemetry&after=7&limit=3')).toEqual([8, 9, 10])
    expect(await get('stream=alarms')).toEqual([1, 2])
    expect(await get('stream=alarms&device=press-7')).toEqual([1, 2])
    expect(await get('device=press-8')).toEqual([])
    expect(await get('spool=none')).toEqual([])
    expect((await fetch(`${cloud.adminUrl}/records?after=x`)).status).toBe(400)
  })

  test('GET /stats and /metrics say what was stored, repeated, reported', async () => {
    const cloud = await start()
    await post(cloud.url, [1, 2, 5], { gaps: '3-4;reason=expired' })
    await post(cloud.url, [1, 2, 5], { gaps: '3-4;reason=expired' })
    const stats = (await (await fetch(`${cloud.adminUrl}/stats`)).json()) as object
    expect(stats).toMatchObject({
      requests: 2,
      records: 3,
      repeats: 3,
      gaps: 1,
      answers: { 200: 2 },
    })
    const metrics = await (await fetch(`${cloud.adminUrl}/metrics`)).text()
    expect(metrics).toContain('cloud_records_stored_total 3\n')
    expect(metrics).toContain('cloud_records_repeated_total 3\n')
    expect(metrics).toContain(
      'cloud_queue_highest_seq{gateway="edge-01",spool="k3f9x2m7q4w8z",stream="telemetry"} 5\n',
    )
    for (const sample of metrics.split('\n').filter((one) => one !== '' && !one.startsWith('#'))) {
      expect(sample).toMatch(/^[a-z_]+(?:\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? -?\d+(?:\.\d+)?$/)
    }
  })

  test('GET / is a page with the latest readings: no script, nothing from elsewhere, what devices chose is escaped', async () => {
    const cloud = await start()
    const page = async (): Promise<{ text: string; policy: string | null }> => {
      const answer = await fetch(`${cloud.adminUrl}/`)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
      return { text: await answer.text(), policy: answer.headers.get('content-security-policy') }
    }
    expect((await page()).text).toContain(`Gateways post to <code>${cloud.url}</code>`)
    const payload = (seq: number): string => `{"n":${seq},"text":"<script>alert(1)</script>"}`
    await post(cloud.url, range(1, 3), { payload })
    const { text, policy } = await page()
    expect(text).toContain('Readings stored: <b>3</b>')
    // The last one of the device, once.
    expect(text.match(/<b>press-7<\/b>/g)).toHaveLength(1)
    expect(text).toContain('{&quot;n&quot;:3,&quot;text&quot;:&quot;&lt;script&gt;')
    expect(text).not.toMatch(/<script|(?:src|href)="?(?:https?:)?\/\/|url\(/)
    const style = /<style>([^]*?)<\/style>/.exec(text)?.[1] ?? ''
    const hash = createHash('sha256').update(style).digest('base64')
    expect(policy).toContain(`default-src 'none'; style-src 'sha256-${hash}'`)
    for (const [, path = ''] of text.matchAll(/href="([^"]+)"/g))
      expect((await fetch(`${cloud.adminUrl}${path}`)).status, path).toBe(200)
    expect((await fetch(`${cloud.adminUrl}/favicon.ico`)).status).toBe(200)
  })

  test('unknown paths, wrong methods', async () => {
    const cloud = await start()
    expect((await fetch(cloud.url)).status).toBe(405)
    expect((await fetch(`${cloud.adminUrl}/nowhere`)).status).toBe(404)
    expect((await fetch(`${cloud.adminUrl}/faults`, { method: 'PUT' })).status).toBe(404)
    expect((await fetch(`${cloud.adminUrl}/livez`)).status).toBe(200)
  })

  test('a port that is taken is an error at the start', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    await expect(Cloud.start({ dir, port })).rejects.toThrow(/EADDRINUSE/)
    taken.close()
    await once(taken, 'close')
  })
})
