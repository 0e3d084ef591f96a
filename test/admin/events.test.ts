/** The live view over real sockets: who gets it, what it holds, and what a slow reader meets. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterEach, expect, test, vi } from 'vitest'
import { EventStreams, MAX_EVENT_STREAMS } from '../../gateway/admin/live/event-streams.ts'
import { stream } from '../observe/fake-sources.ts'
import { type AdminFixture, startAdmin } from './admin-fixture.ts'

interface ServerEvent {
  readonly event: string
  readonly data: unknown
}

/** One that takes all. */
class Reader extends Writable {
  text = ''

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.text += chunk.toString()
    done()
  }
}

let admin: AdminFixture
const open: AbortController[] = []

afterEach(async () => {
  for (const controller of open.splice(0)) controller.abort()
  await admin.stop()
})

/** Events as they come; ends with the stream. */
async function* events(headers: Record<string, string> = {}): AsyncGenerator<ServerEvent> {
  const controller = new AbortController()
  open.push(controller)
  const { signal } = controller
  const answer = await fetch(`${admin.server.url}/api/events`, { headers, signal })
  if (answer.status !== 200) throw new Error(`status ${answer.status}`)
  expect(answer.headers.get('content-type')).toContain('text/event-stream')
  let text = ''
  for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const [event = '', data = ''] = text.slice(0, end).split('\n')
      text = text.slice(end + 2)
      yield { event: event.replace('event: ', ''), data: JSON.parse(data.replace('data: ', '')) }
    }
  }
}

async function next(from: AsyncGenerator<ServerEvent>): Promise<ServerEvent> {
  const { value, done } = await from.next()
  if (done === true) throw new Error('the stream ended')
  return value
}

async function toEnd(from: AsyncGenerator<ServerEvent>): Promise<void> {
  while ((await from.next()).done !== true);
}

test('a snapshot comes at once and each second, the same for all readers', async () => {
  admin = await startAdmin()
  const first = events()
  const begin = await next(first)
  expect(begin).toMatchObject({
    event: 'snapshot',
    data: { atMs: expect.any(Number), status: { gateway: 'edge-01', statusVersion: 1 } },
  })
  const second = events()
  expect(await next(second)).toEqual(begin)
  expect(await next(first)).toEqual(await next(second))
})

test('whoever comes has three snapshots soon: rates and their lines wait for no further second', async () => {
  admin = await startAdmin()
  vi.useFakeTimers()
  try {
    let made = 0
    const streams = new EventStreams({
      snapshot: async () => ({ made: ++made }),
      follow: () => () => undefined,
      onError: () => undefined,
    })
    const [first, late] = [new Reader(), new Reader()]
    streams.attach(first as never, async () => true)
    await vi.advanceTimersByTimeAsync(500)
    expect(first.text).toMatch(/"made":1}[^]*"made":2}[^]*"made":3}\n\n$/)
    await vi.advanceTimersByTimeAsync(2_000)
    expect(made).toBe(5)
    streams.attach(late as never, async () => true)
    await vi.advanceTimersByTimeAsync(0)
    expect(late.text).toMatch(/^event: snapshot\ndata: {"made":3}[^]*"made":4}[^]*"made":5}\n\n$/)
  } finally {
    vi.useRealTimers()
  }
})

test('a snapshot is made once for all, and none while nobody reads', async () => {
  admin = await startAdmin()
  vi.useFakeTimers()
  try {
    let made = 0
    let following = 0
    const streams = new EventStreams({
      snapshot: async () => ({ made: ++made }),
      follow: () => {
        following++
        return () => void following--
      },
      onError: () => undefined,
    })
    const readers = [new Reader(), new Reader()]
    for (const reader of readers) streams.attach(reader as never, async () => true)
    await vi.advanceTimersByTimeAsync(3_000)
    expect([made, following]).toEqual([5, 1])
    for (const { text } of readers) expect(text).toMatch(/"made":1[^]*"made":2[^]*"made":5}\n\n$/)
    for (const reader of readers) reader.destroy()
    await vi.advanceTimersByTimeAsync(60_000)
    expect([made, following]).toEqual([5, 0])
  } finally {
    vi.useRealTimers()
  }
})

test('warnings of the log come as they are written, and no line below them', async () => {
  admin = await startAdmin()
  const reader = events()
  await next(reader)
  admin.observer.noteAdmin({ type: 'admin.changed', path: '/api/x', remote: 'a', user: null })
  await admin.get('/api/nothing')
  const { event, data } = await next(reader)
  expect([event, data]).toEqual([
    'log',
    expect.objectContaining({ level: 'warn', code: 'ADMIN_NOT_FOUND', path: '/api/nothing' }),
  ])
  expect(JSON.parse(admin.log().trimEnd().split('\n').at(-1) ?? '')).toEqual(data)
})

test('I6: streams are bounded, and there is room again when one closes', async () => {
  admin = await startAdmin()
  const readers = Array.from({ length: MAX_EVENT_STREAMS }, () => events())
  await Promise.all(readers.map(next))
  const refused = await admin.get('/api/events')
  expect([refused.status, refused.error.code]).toEqual([503, 'ADMIN_TOO_MANY_STREAMS'])
  open.pop()?.abort()
  await vi.waitFor(() => next(events()), 5_000)
})

test('a stream ends with its session', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-events-'))
  try {
    const file = join(folder, 'token')
    await writeFile(file, 'first')
    admin = await startAdmin({ token: { file } })
    const login = await admin.post('/api/login', { token: 'first' })
    const cookie = login.headers.getSetCookie()[0]?.split(';')[0] ?? ''
    const reader = events({ cookie })
    await next(reader)
    await admin.post('/api/logout', {}, { cookie })
    await toEnd(reader)
    const machine = events({ authorization: 'Bearer first' })
    await next(machine)
    await writeFile(file, 'second')
    await toEnd(machine)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('I6: a reader that takes nothing is cut off, and the others go on', async () => {
  admin = await startAdmin()
  // More than the buffers of a connection take between two machines.
  admin.state.streams = Array.from({ length: 5_000 }, (_, i) => stream({ name: `stream-${i}` }))
  const { port } = new URL(admin.server.url)
  const slow: Socket = connect(Number(port), '127.0.0.1')
  slow.on('error', () => undefined)
  slow.pause()
  const closed = new Promise<void>((resolve) => slow.once('close', () => resolve()))
  slow.write('GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const reader = events()
  await next(reader)
  const beganMs = performance.now()
  for (let i = 0; i < 14; i++) await next(reader)
  // It learns of its end when it reads again.
  slow.resume()
  await closed
  expect(performance.now() - beganMs).toBeGreaterThan(10_000)
  await next(reader)
}, 40_000)

test('a stop ends the streams', async () => {
  admin = await startAdmin()
  const reader = events()
  await next(reader)
  const rest = toEnd(reader)
  const beganMs = performance.now()
  await admin.server.stop()
  await rest
  expect(performance.now() - beganMs).toBeLessThan(900)
})
