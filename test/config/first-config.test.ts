/** The first configuration that `sluice config init` writes: for each type of sink one that loads. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runCli } from '../../gateway/cli/program.ts'
import { processContext } from '../../gateway/command-line.ts'
import { describeKeys } from '../../gateway/config/keys/describe.ts'
import { firstConfig, sinkTypesIn } from '../../gateway/config/keys/first-config.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { SINK_TYPES } from '../../gateway/sink/registry.ts'
import { ConfigFolder } from './folder.ts'

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

const ROWS = describeKeys(SCHEMA.root)
const COMMENTED = /^ {4}#([a-z]\w*: .*)$/i

test('each type of sink can be asked for', () => {
  expect(sinkTypesIn(ROWS).toSorted()).toEqual(Object.keys(SINK_TYPES).toSorted())
})

test.each(sinkTypesIn(ROWS))(
  '%s: it loads, and to the same with its commented keys taken in',
  (type) => {
    const text = firstConfig(ROWS, type)
    const plain = folder.load(text)
    expect(plain.warnings).toEqual([])
    expect(plain.config.sinks['main']?.type).toBe(type)
    const lines = text.split('\n')
    const commented = lines.filter((line) => COMMENTED.test(line))
    // Those of the stream, of every sink, and of this type.
    expect(commented.length).toBeGreaterThan(15)
    for (const line of commented) {
      const taken = lines.map((each) => (each === line ? `    ${COMMENTED.exec(line)?.[1]}` : each))
      expect(folder.load(taken.join('\n')).config, line).toEqual(plain.config)
    }
    expect(lines.every((line) => line.length <= 100 || COMMENTED.test(line))).toBe(true)
  },
)

test('it says what is in effect of what is commented out, and what is an example', () => {
  const text = firstConfig(ROWS, 'http')
  const [head = ''] = text.split('\nstreams:')
  expect(head).toContain('what is commented out as "#key: value"\n# is in effect')
  expect(folder.load(text).config.mqtt).toMatchObject({ auth: null, listeners: [{ tls: null }] })
  // Neither the listener nor the users: what is not in effect says that it is an example.
  for (const line of head.split('\n').filter((each) => /^ +# (- \{|[a-zA-Z]+: )/.test(each)))
    expect(head).toMatch(new RegExp(`# EXAMPLE, .*:.*\\n${line.replaceAll(/[{}]/g, '.')}`))
})

test('the command writes a new file, never over one, and names the types it knows', async () => {
  const said = { out: '', err: '' }
  const context = {
    ...processContext(),
    cwd: folder.path,
    stdout: { write: (text: string) => void (said.out += text) },
    stderr: { write: (text: string) => void (said.err += text) },
  }
  expect(await runCli(['config', 'init', 'first.yaml', '--sink', 'postgres'], context)).toBe(0)
  expect(said.err).toContain('sluice check --config first.yaml')
  const written = readFileSync(join(folder.path, 'first.yaml'), 'utf8')
  expect(written).toBe(firstConfig(ROWS, 'postgres'))
  expect(await runCli(['config', 'init', 'first.yaml'], context)).toBe(1)
  expect(said.err).toContain('it exists already')
  expect(await runCli(['config', 'init', '--sink', 'nix'], context)).toBe(2)
  expect(said.err).toContain('there is no type of sink nix; there are http, ')
  expect(await runCli(['config', 'init', '--sink', 'influxdb'], context)).toBe(2)
  expect(said.err).toContain('write type: http with format: { kind: influx }')
  expect(await runCli(['config', 'init'], context)).toBe(0)
  expect(said.out).toBe(firstConfig(ROWS, 'http'))
})
