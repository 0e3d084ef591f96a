/**
 * What people parse, over a running gateway: the metrics with their types and labels, and the
 * members of the status document in their order. Recorded, so that a change of the code behind them
 * changes neither by accident.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadConfig } from '../../gateway/config/load.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { type Gateway, startGateway } from '../../gateway/gateway.ts'

interface Shape {
  readonly status: readonly string[]
  readonly metrics: readonly string[]
}

let folder: string
let gateway: Gateway
let recorded: Shape

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-shape-'))
  const env = {
    SLUICE__GATEWAY__DATA_DIR: join(folder, 'data'),
    SLUICE__GATEWAY__ID: 'edge-01',
    SLUICE__ADMIN__PORT: '0',
    SLUICE__MQTT__LISTENERS__0__PORT: '0',
    SLUICE__SINKS__CLOUD__URL: 'http://127.0.0.1:1/in',
    SLUICE__LOG__LEVEL: 'error',
  }
  const { config } = loadConfig(SCHEMA, { file: null, env, cwd: folder })
  gateway = await startGateway(config)
  const file = new URL('shape.json', import.meta.url)
  recorded = JSON.parse(await readFile(file, 'utf8')) as Shape
})
afterAll(async () => {
  await gateway?.stop(1_000)
  await rm(folder, { recursive: true, force: true })
})

/** `streams[].counters.received: number`, one for each leaf of the document. */
function leaves(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return value.slice(0, 1).flatMap((each) => leaves(each, `${path}[]`))
  if (typeof value !== 'object' || value === null)
    return [`${path}: ${value === null ? 'null' : typeof value}`]
  return Object.entries(value).flatMap(([name, member]) =>
    leaves(member, path === '' ? name : `${path}.${name}`),
  )
}

/**
 * Types and samples without values; not those of the process, nor events, which come as they may.
 */
function metricLines(text: string): string[] {
  return text
    .split('\n')
    .filter((line) =>
      /^(# TYPE )?sluice_(gateway|broker|spool|drain|sink|observe|devices)_/.test(line),
    )
    .filter((line) => !line.startsWith('sluice_observe_events_total'))
    .map((line) =>
      line.startsWith('#')
        ? line
        : line.replace(/ [^ ]+$/, '').replace(/version="[^"]*"/, 'version="…"'),
    )
}

test('the status document has the members that were recorded, in their order', async () => {
  const answer = await fetch(`${gateway.adminUrl}/api/status`)
  // What is found out later may be null at first.
  const known = (lines: readonly string[]) =>
    lines.map((line) => line.replace(/(spool\.(verified|lastCommitAt)): .*/, '$1'))
  expect(known(leaves(await answer.json(), ''))).toEqual(known(recorded.status))
})

test('/metrics has the names, types and labels that were recorded', async () => {
  const answer = await fetch(`${gateway.adminUrl}/metrics`)
  expect(metricLines(await answer.text())).toEqual(recorded.metrics)
})
