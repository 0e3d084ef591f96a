/**
 * Every fault of the reference cloud, over real HTTP: that it does what it says, and that it is
 * counted when it did.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Cloud, type CloudOptions } from '../../../../device-sim/cloud/cloud.ts'
import { faultSchedule } from '../../../../device-sim/cloud/faults/fault-schedule.ts'
import {
  FAULT_KINDS,
  FaultControl,
  type FaultKind,
  type FaultSpec,
} from '../../../../device-sim/cloud/faults/faults.ts'
import { post, postIsCut, range } from '../client.ts'

let dir = ''
const clouds: Cloud[] = []
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-cloud-'))
})
afterEach(async () => {
  for (const cloud of clouds.splice(0)) await cloud.close()
  rmSync(dir, { recursive: true })
})

async function start(
  faults: readonly FaultSpec[] = [],
  options: Partial<CloudOptions> = {},
): Promise<Cloud> {
  const cloud = await Cloud.start({ dir, faults, ...options })
  clouds.push(cloud)
  return cloud
}

/** Tries until the cloud answers. */
async function postUntilAnswered(url: string, seqs: readonly number[]): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    if (!(await postIsCut(url, seqs))) return tries
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('faults that store nothing', () => {
  test('429 and 503 with Retry-After in seconds and as a date, each as often as asked', async () => {
    const cloud = await start([
      { kind: 'busy', status: 429, retryAfter: { seconds: 3 }, count: 1 },
      { kind: 'busy', status: 503, retryAfter: { dateSeconds: 60 }, count: 2 },
    ])
    const [first, second, third] = [
      await post(cloud.url, [1]),
      await post(cloud.url, [1]),
      await post(cloud.url, [1]),
    ]
    expect([first.status, second.status, third.status]).toEqual([429, 503, 503])
    expect(first.headers.get('retry-after')).toBe('3')
    const waitMs =
      Date.parse(second.headers.get('retry-after') ?? '') -
      Date.parse(second.headers.get('date') ?? '')
    expect(waitMs).toBeGreaterThanOrEqual(59_000)
    expect(waitMs).toBeLessThanOrEqual(61_000)
    expect(cloud.stats).toMatchObject({ records: 0, faults: { busy: 3 } })
    expect(await post(cloud.url, [1])).toMatchObject({ ackedThrough: 1 })
  })

  test('a request is cut before it is stored', async () => {
    const cloud = await start([{ kind: 'drop-request', count: 1 }])
    expect(await postIsCut(cloud.url, range(1, 3))).toBe(true)
    expect(cloud.stats).toMatchObject({ records: 0, faults: { 'drop-request': 1 } })
    expect(await post(cloud.url, range(1, 3))).toMatchObject({ ackedThrough: 3 })
    expect(cloud.stats.repeats).toBe(0)
  })

  test('a captive portal answers 200 with HTML; any status can be asked for', async () => {
    const cloud = await start([
      { kind: 'portal', count: 1 },
      { kind: 'status', status: 404, count: 1 },
    ])
    const portal = await post(cloud.url, [1])
    expect([portal.status, portal.headers.get('content-type')]).toEqual([200, 'text/html'])
    expect((await post(cloud.url, [1])).status).toBe(404)
    expect(cloud.stats).toMatchObject({ records: 0, faults: { portal: 1, status: 1 } })
  })
})

describe('outages', () => {
  test('the listener goes away, connections are refused, and it comes back on its port with its data', async () => {
    const cloud = await start()
    const { url } = cloud
    await post(url, [1])
    cloud.faults.add({ kind: 'outage', mode: 'refuse' })
    expect(await postIsCut(url, [2])).toBe(true)
    expect(await postIsCut(url, [2])).toBe(true)
    cloud.faults.clear()
    await postUntilAnswered(url, [2])
    expect(cloud.url).toBe(url)
    expect(cloud.stats).toMatchObject({ records: 2, faults: { outage: 1 } })
  })

  test('connections are reset, each one counted', async () => {
    const cloud = await start([{ kind: 'outage', mode: 'reset' }])
    for (let n = 0; n < 3; n += 1) expect(await postIsCut(cloud.url, [1])).toBe(true)
    expect(cloud.stats.faults.outage).toBeGreaterThanOrEqual(3)
    cloud.faults.clear()
    expect(await post(cloud.url, [1])).toMatchObject({ ackedThrough: 1 })
  })

  test.each(['refuse', 'reset'] as const)(
    '%s ends by itself when its time is over',
    async (mode) => {
      const cloud = await start([{ kind: 'outage', mode, forMs: 50 }])
      await postUntilAnswered(cloud.url, [1])
      expect(cloud.stats.records).toBe(1)
    },
  )

  test('everything is 503 while it lasts', async () => {
    const cloud = await start([{ kind: 'outage', mode: '503' }])
    expect((await post(cloud.url, [1])).status).toBe(503)
    expect((await post(cloud.url, [1])).status).toBe(503)
    cloud.faults.clear()
    expect((await post(cloud.url, [1])).status).toBe(200)
    expect(cloud.stats.faults.outage).toBe(2)
  })

  test('the admin port stays up and ends an outage that has no end', async () => {
    const cloud = await start([], { adminPort: 0 })
    const faults = JSON.stringify({ faults: [{ kind: 'outage' }] })
    expect((await fetch(`${cloud.adminUrl}/faults`, { method: 'POST', body: faults })).status).toBe(
      200,
    )
    expect(await postIsCut(cloud.url, [1])).toBe(true)
    expect((await fetch(`${cloud.adminUrl}/faults`, { method: 'DELETE' })).status).toBe(200)
    expect(await postUntilAnswered(cloud.url, [1])).toBeGreaterThanOrEqual(1)
  })

  test('without an admin port such an outage is refused: nothing could end it', async () => {
    const cloud = await start()
    const body = JSON.stringify({ faults: [{ kind: 'outage' }] })
    const answer = await fetch(`${cloud.adminUrl}/faults`, { method: 'POST', body })
    expect([answer.status, await answer.text()]).toEqual([
      400,
      expect.stringContaining('admin port') as string,
    ])
    expect((await post(cloud.url, [1])).status).toBe(200)
  })

  test('a window begins when it is due', async () => {
    let nowMs = 1000
    const control = new FaultControl({ seed: 1, nowMs: () => nowMs })
    control.add({ kind: 'outage', afterMs: 500, forMs: 100 })
    expect(control.connectionOutage()).toEqual({ mode: null, nextChangeMs: 1500 })
    nowMs = 1500
    expect(control.connectionOutage()).toEqual({ mode: 'refuse', nextChangeMs: 1600 })
    nowMs = 1600
    expect(control.connectionOutage()).toEqual({
      mode: null,
      nextChangeMs: Number.POSITIVE_INFINITY,
    })
  })
})

describe('faults around storing', () => {
  test('an answer is lost after storing: the repeat is all repeats', async () => {
    const cloud = await start([{ kind: 'lost-answer', count: 1 }])
    expect(await postIsCut(cloud.url, range(1, 3))).toBe(true)
    expect(cloud.stats).toMatchObject({ records: 3, faults: { 'lost-answer': 1 } })
    expect(await post(cloud.url, range(1, 3))).toMatchObject({ ackedThrough: 3 })
    expect(cloud.stats).toMatchObject({ records: 3, repeats: 3 })
  })

  test('a half-open answer stores and never comes', async () => {
    const cloud = await start([{ kind: 'half-open', count: 1 }])
    const pending = post(cloud.url, range(1, 3)).catch(() => 'cut')
    while (cloud.stats.faults['half-open'] === 0)
      await new Promise((resolve) => setTimeout(resolve, 5))
    expect(cloud.stats.records).toBe(3)
    expect(await post(cloud.url, range(1, 3))).toMatchObject({ ackedThrough: 3 })
    await cloud.close()
    expect(await pending).toBe('cut')
  })

  test('slow: the answer comes, later', async () => {
    const cloud = await start([{ kind: 'slow', delayMs: 120, count: 1 }])
    const startedAt = performance.now()
    expect(await post(cloud.url, [1])).toMatchObject({ ackedThrough: 1 })
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(115)
    expect(cloud.stats.faults.slow).toBe(1)
  })

  test('a partial ack stores a share, says how far, and the rest fits behind it', async () => {
    const cloud = await start([{ kind: 'partial', keep: 0.4, count: 1 }])
    expect(await post(cloud.url, range(1, 10))).toMatchObject({
      status: 207,
      ackedThrough: 4,
      rejected: [],
    })
    expect(await post(cloud.url, range(5, 12))).toMatchObject({ status: 200, ackedThrough: 12 })
    expect(cloud.stats).toMatchObject({ records: 12, repeats: 0, faults: { partial: 1 } })
  })

  test('a partial ack of nothing names the seq before the first', async () => {
    const cloud = await start([{ kind: 'partial', keep: 0, count: 1 }])
    expect(await post(cloud.url, range(7, 9))).toMatchObject({ status: 207, ackedThrough: 6 })
  })

  test('a partial ack that has nothing to cut does not count', async () => {
    const cloud = await start([{ kind: 'partial', keep: 0.5, count: 1 }])
    await post(cloud.url, [1])
    await post(cloud.url, [1])
    expect(cloud.stats.faults.partial).toBe(0)
    expect(await post(cloud.url, range(2, 5))).toMatchObject({ ackedThrough: 3 })
    expect(cloud.stats.faults.partial).toBe(1)
  })
})

describe('refused records', () => {
  test('by the rule: stop in front of it, name it, go on behind it; the repeat is refused again', async () => {
    const cloud = await start([{ kind: 'refuse', match: { member: 'celsius', above: 26 } }])
    const first = await post(cloud.url, range(1, 10))
    expect(first).toMatchObject({
      status: 207,
      ackedThrough: 5,
      rejected: [{ seq: 6, status: 422 }],
    })
    expect(await post(cloud.url, range(6, 10))).toMatchObject({
      ackedThrough: 5,
      rejected: [{ seq: 6 }],
    })
    expect(await post(cloud.url, [7])).toMatchObject({ ackedThrough: 6, rejected: [{ seq: 7 }] })
    expect(await post(cloud.url, range(10, 15))).toMatchObject({ status: 200, ackedThrough: 15 })
    expect(cloud.stats).toMatchObject({ refused: 3, faults: { refuse: 3 } })
  })

  test('by status: the batch is refused whole, nothing of it is stored', async () => {
    const cloud = await start([{ kind: 'refuse', match: { seqs: [3] }, as: 'status', status: 400 }])
    expect((await post(cloud.url, range(1, 4))).status).toBe(400)
    expect(cloud.stats.records).toBe(0)
    expect(await post(cloud.url, range(1, 2))).toMatchObject({ ackedThrough: 2 })
    expect((await post(cloud.url, [3])).status).toBe(400)
    expect(await post(cloud.url, [4])).toMatchObject({ ackedThrough: 4 })
  })

  test('a share picks the same records every time, about as many as asked', async () => {
    const refusedOf = async (seed: number): Promise<number[]> => {
      const folder = mkdtempSync(join(tmpdir(), 'sluice-cloud-'))
      const cloud = await Cloud.start({
        dir: folder,
        seed,
        faults: [{ kind: 'refuse', match: { share: 0.1 } }],
      })
      const refused: number[] = []
      for (let at = 1; at <= 600; ) {
        const answer = await post(cloud.url, range(at, 600))
        for (const one of answer.rejected) refused.push(one.seq)
        at = (answer.rejected[0]?.seq ?? 600) + 1
      }
      await cloud.close()
      rmSync(folder, { recursive: true })
      return refused
    }
    const [once, again, other] = [await refusedOf(7), await refusedOf(7), await refusedOf(8)]
    expect(again).toEqual(once)
    expect(other).not.toEqual(once)
    expect(once.length).toBeGreaterThan(30)
    expect(once.length).toBeLessThan(100)
  })

  test('by text in the line, and only in the stream that the rule names', async () => {
    const cloud = await start([
      { kind: 'refuse', match: { contains: 'press-7' }, stream: 'alarms' },
    ])
    expect(await post(cloud.url, [1])).toMatchObject({ status: 200 })
    expect(await post(cloud.url, [1], { stream: 'alarms' })).toMatchObject({
      rejected: [{ seq: 1 }],
    })
  })
})

describe('rules', () => {
  test('POST /faults sets, GET lists with counts, replace and DELETE end', async () => {
    const cloud = await start()
    const url = `${cloud.adminUrl}/faults`
    const set = async (body: unknown): Promise<Response> =>
      fetch(url, { method: 'POST', body: JSON.stringify(body) })
    expect(await (await set({ faults: [{ kind: 'busy', count: 5 }] })).json()).toEqual({ ids: [1] })
    await post(cloud.url, [1])
    const listed = (await (await fetch(url)).json()) as {
      faults: object[]
      fired: Record<FaultKind, number>
    }
    expect(listed.faults).toEqual([
      {
        id: 1,
        fired: 1,
        state: 'active',
        spec: expect.objectContaining({ kind: 'busy', status: 503 }) as object,
      },
    ])
    expect(listed.fired.busy).toBe(1)
    expect(await (await set({ faults: [{ kind: 'portal' }], replace: true })).json()).toEqual({
      ids: [2],
    })
    expect((await post(cloud.url, [1])).text).toContain('<html>')
    await fetch(url, { method: 'DELETE' })
    expect(await post(cloud.url, [1])).toMatchObject({ ackedThrough: 1 })
  })

  test.each([
    ['no JSON', 'oops'],
    ['no list', '{}'],
    ['an unknown kind', '{"faults":[{"kind":"meteor"}]}'],
    ['an unknown member', '{"faults":[{"kind":"busy","forever":true}]}'],
    ['a share above 1', '{"faults":[{"kind":"busy","share":2}]}'],
    ['a good rule beside a bad one', '{"faults":[{"kind":"busy"},{"kind":"slow"}],"replace":true}'],
  ])('%s is refused, and nothing is set', async (_, body) => {
    const cloud = await start()
    expect((await fetch(`${cloud.adminUrl}/faults`, { method: 'POST', body })).status).toBe(400)
    expect(cloud.faults.list()).toEqual([])
  })

  test('a share of requests is drawn from the seed', () => {
    const pattern = (seed: number): string => {
      const control = new FaultControl({ seed, nowMs: () => 0 })
      control.add({ kind: 'busy', share: 0.3 })
      return Array.from({ length: 200 }, () => {
        const { parts } = control.decide('telemetry')
        for (const part of parts) part.fire()
        return parts.length
      }).join('')
    }
    expect(pattern(1)).toBe(pattern(1))
    expect(pattern(1)).not.toBe(pattern(2))
    const hits = pattern(1).replaceAll('0', '').length
    expect(hits).toBeGreaterThan(30)
    expect(hits).toBeLessThan(90)
  })

  test('two requests at once do not use a count up twice; a part that did nothing gives it back', () => {
    const control = new FaultControl({ seed: 1, nowMs: () => 0 })
    control.add({ kind: 'lost-answer', count: 1 })
    const [first, second] = [control.decide('a'), control.decide('a')]
    expect([first.parts.length, second.parts.length]).toEqual([1, 0])
    first.parts[0]?.release()
    const third = control.decide('a')
    third.parts[0]?.fire()
    third.parts[0]?.fire()
    expect(control.fired['lost-answer']).toBe(1)
    expect(control.decide('a').parts).toHaveLength(0)
  })
})

describe('a seeded day', () => {
  const options = { seed: 42, durationMs: 30_000 }

  test('is the same for the same seed, in order, and has every kind that was asked for', () => {
    const day = faultSchedule(options)
    expect(faultSchedule(options)).toEqual(day)
    expect(faultSchedule({ ...options, seed: 43 })).not.toEqual(day)
    const begins = day.map((one) => one.afterMs ?? 0)
    expect(begins).toEqual([...begins].sort((a, b) => a - b))
    expect(Math.max(...begins)).toBeLessThan(30_000)
    const kinds = new Set(day.map((one) => one.kind))
    expect(kinds).toEqual(
      new Set(['outage', 'busy', 'lost-answer', 'drop-request', 'partial', 'slow']),
    )
    expect(FAULT_KINDS).toEqual(expect.arrayContaining([...kinds]))
  })

  test('leaves out what is set to 0, and its rules are valid', () => {
    const day = faultSchedule({ ...options, outages: 0, busyBursts: 0 })
    expect(day.some((one) => one.kind === 'outage' || one.kind === 'busy')).toBe(false)
    new FaultControl({ seed: 1, nowMs: () => 0 }).add(...day)
  })
})
