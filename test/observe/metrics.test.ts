/**
 * /metrics: one snapshot, absolute values, bounded labels, text that Prometheus' own tools accept.
 */
import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import type { Snapshot } from '../../gateway/observe/metrics/definition.ts'
import { Metrics } from '../../gateway/observe/metrics/metrics.ts'
import { METRICS } from '../../gateway/observe/metrics/table.ts'
import { testWithTool } from '../support/tool-tests.ts'
import { findTool } from '../support/tools.ts'
import { broker, fakeSources, histogram, NOW_MS, sink, spool, stream } from './fake-sources.ts'

function snapshot(more: Partial<Snapshot> = {}): Snapshot {
  const { state } = fakeSources()
  return {
    nowMs: NOW_MS,
    ...state,
    observe: {
      events: { 'spool.opened': 1 },
      suppressedLines: 2,
      droppedLines: 3,
      certificateEndsAtMs: { 'mqtt.listeners.0': 1_800_000_000_000 },
    },
    writtenBytes: 5,
    ...more,
  }
}

/** Value of the sample that is written so, labels included. */
function value(text: string, sample: string): number | null {
  const line = text.split('\n').find((each) => each.startsWith(`${sample} `))
  return line === undefined ? null : Number(line.slice(sample.length + 1))
}

describe('the table of metrics', () => {
  test('names are sluice_<stage>_<thing>, counters end in _total, others do not', () => {
    for (const { name, type } of METRICS) {
      expect(name).toMatch(
        /^sluice_(gateway|broker|spool|drain|sink|observe|process|devices)_[a-z0-9_]+$/,
      )
      expect(name.endsWith('_total')).toBe(type === 'counter')
    }
  })

  test('I6: no label can carry a device, a client or a topic', () => {
    const bounded = [
      'gateway',
      'version',
      'stream',
      'sink',
      'reason',
      'cause',
      'outcome',
      'state',
      'qos',
      // Reason codes of the standard.
      'code',
      'event',
      'listener',
    ]
    for (const { labels } of METRICS) for (const label of labels) expect(bounded).toContain(label)
  })

  test('each metric has a sample with exactly its labels in a full snapshot', () => {
    for (const definition of METRICS) {
      const samples = definition.read(snapshot())
      expect(samples.length, definition.name).toBeGreaterThan(0)
      for (const { labels } of samples) expect(Object.keys(labels)).toEqual([...definition.labels])
    }
  })
})

describe('a scrape', () => {
  test('I5: carries both lines of conservation per stream, and they balance', async () => {
    const text = await new Metrics().render(snapshot())
    const of = (name: string, more = '') =>
      value(text, `sluice_spool_${name}{stream="telemetry"${more}}`) ?? NaN
    const dropped = ['expired', 'dropped-oldest', 'drop-newest', 'full-qos0', 'corrupt', 'purged']
      .map((reason) => of('dropped_records_total', `,reason="${reason}"`))
      .reduce((a, b) => a + b, 0)
    expect(dropped).toBe(5)
    expect(of('received_records_total') + of('requeued_records_total')).toBe(
      of('delivered_records_total') +
        of('dead_lettered_records_total') +
        dropped +
        of('pending_records'),
    )
    const removed = ['expired', 'quota', 'purged']
      .map((reason) => of('dead_letters_removed_total', `,reason="${reason}"`))
      .reduce((a, b) => a + b, 0)
    expect(of('dead_lettered_records_total')).toBe(
      of('dead_letters') + of('dead_letters_requeued_total') + removed,
    )
  })

  test('counters are absolute: a second scrape shows the new total, not the sum of both', async () => {
    const metrics = new Metrics()
    await metrics.render(snapshot({ spool: spool({}, { commits: 40 }) }))
    const text = await metrics.render(snapshot({ spool: spool({}, { commits: 41 }) }))
    expect(value(text, 'sluice_spool_commits_total')).toBe(41)
  })

  test('a stream that is gone leaves the scrape', async () => {
    const metrics = new Metrics()
    const both = [stream(), stream({ name: 'alarms' })]
    expect(await metrics.render(snapshot({ streams: both }))).toContain('stream="alarms"')
    expect(await metrics.render(snapshot())).not.toContain('stream="alarms"')
  })

  test('histograms are cumulative, with the rest in +Inf', async () => {
    const text = await new Metrics().render(
      snapshot({ broker: broker({ ackSeconds: histogram([4, 5, 6], 1.25) }) }),
    )
    expect(value(text, 'sluice_broker_ack_seconds_bucket{le="0.001"}')).toBe(4)
    expect(value(text, 'sluice_broker_ack_seconds_bucket{le="0.01"}')).toBe(9)
    expect(value(text, 'sluice_broker_ack_seconds_bucket{le="+Inf"}')).toBe(15)
    expect(value(text, 'sluice_broker_ack_seconds_count')).toBe(15)
    expect(value(text, 'sluice_broker_ack_seconds_sum')).toBe(1.25)
  })

  test('each state has a sample: 1 for the current one, 0 for the others', async () => {
    const held = { state: 'held', sinceMs: NOW_MS, why: 'HTTP 401', nextTryAtMs: null } as const
    const text = await new Metrics().render(snapshot({ sinks: [sink({ delivery: held })] }))
    const of = (state: string) => value(text, `sluice_sink_state{sink="cloud",state="${state}"}`)
    expect([of('ok'), of('retrying'), of('held')]).toEqual([0, 0, 1])
  })

  test('what is not known is absent, not zero', async () => {
    const unknown = [sink({ lastSuccessAtMs: null }, { clockSkewSeconds: null })]
    const text = await new Metrics().render(snapshot({ sinks: unknown, writtenBytes: null }))
    expect(value(text, 'sluice_sink_clock_skew_seconds{sink="cloud"}')).toBeNull()
    expect(value(text, 'sluice_sink_last_success_timestamp_seconds{sink="cloud"}')).toBeNull()
    expect(value(text, 'sluice_process_written_bytes_total')).toBeNull()
  })

  test('has the process and event loop metrics under the same prefix', async () => {
    const text = await new Metrics().render(snapshot())
    expect(value(text, 'sluice_process_resident_memory_bytes')).toBeGreaterThan(0)
    expect(value(text, 'sluice_nodejs_eventloop_lag_p99_seconds')).not.toBeNull()
    expect(text.match(/^(?!#)(?!sluice_)\S+/m)).toBeNull()
  })

  test('label values that need escaping do not break the text', async () => {
    const identity = { version: '1"\\\n', gateway: 'g', uptimeSeconds: 1, clockSet: true }
    const text = await new Metrics().render(snapshot({ identity }))
    expect(text).toContain('version="1\\"\\\\\\n"')
  })

  testWithTool('promtool', 'passes promtool check metrics without a complaint', async () => {
    const text = await new Metrics().render(snapshot())
    let complaints = ''
    try {
      complaints = execFileSync(findTool('promtool')!, ['check', 'metrics'], {
        input: text,
        encoding: 'utf8',
        stdio: ['pipe', 'pipe', 'pipe'],
      })
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string }
      complaints = stdout + stderr
    }
    expect(complaints.split('\n').filter((line) => line !== '')).toEqual([])
  })
})
