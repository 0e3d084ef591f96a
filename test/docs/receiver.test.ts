/**
 * The receivers printed in the documents run as they stand and keep the contract's promise: every
 * line once, in order (I4).
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, gzipSync } from 'node:zlib'
import { expect } from 'vitest'
import { testWithTool } from '../support/tool-tests.ts'
import { findTool } from '../support/tools.ts'
import { readText } from './source-tree.ts'

function printedReceiver(document: string): string {
  const code = /```python\n([\s\S]*?)```/.exec(readText(document))?.[1]
  if (code === undefined) throw new Error(`${document} has no Python receiver`)
  return code
}

function line(seq: number, device = 'd'): string {
  return `{"id":"g:s:telemetry:${seq}","seq":${seq},"device":"${device}","topic":"t","qos":1,"receivedAt":"2026-11-23T03:05:00.123Z","payload":{"n":1.10,"text":"a\\u2028b\u2028c"}}\n`
}

/** Sends seqs as one batch and gives back what the receiver acked. */
async function send(
  port: number,
  seqs: readonly number[],
  more: { gzip?: boolean; stream?: string; gap?: string; device?: string } = {},
): Promise<number> {
  const body = seqs.map((seq) => line(seq, more.device)).join('')
  const stream = more.stream ?? 'telemetry'
  const first = seqs[0] ?? 0
  const last = seqs.at(-1) ?? 0
  const response = await fetch(`http://127.0.0.1:${port}/ingest`, {
    method: 'POST',
    headers: {
      'Sluice-Contract': '1',
      'Content-Type': 'application/x-ndjson',
      'Idempotency-Key': `"g:s:${stream}:${first}-${last}:${crc32(body).toString(16).padStart(8, '0')}"`,
      'Sluice-Gateway': 'g',
      'Sluice-Spool': 's',
      'Sluice-Stream': stream,
      'Sluice-First-Seq': String(first),
      'Sluice-Last-Seq': String(last),
      'Sluice-Record-Count': String(seqs.length),
      ...(more.gap === undefined ? {} : { 'Sluice-Gap': more.gap }),
      ...(more.gzip === false ? {} : { 'Content-Encoding': 'gzip' }),
    },
    body: more.gzip === false ? body : gzipSync(body),
  })
  if (response.status === 204) return last
  if (response.status !== 200) return -response.status
  return ((await response.json()) as { ackedThrough: number }).ackedThrough
}

async function portOf(child: ChildProcess): Promise<number> {
  let text = ''
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    text += chunk.toString()
    const match = /^(\d+)\n/.exec(text)
    if (match !== null) return Number(match[1])
  }
  throw new Error('the receiver ended before it listened')
}

testWithTool(
  'python3',
  'I4: the complete receiver of the contract stores every line once, across repeats, overlaps and its own restart',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-receiver-'))
    const script = join(folder, 'receiver.py')
    const store = join(folder, 'store.db')
    writeFileSync(script, printedReceiver('gateway/sink/http/README.md'))
    const start = () =>
      spawn(findTool('python3')!, [script, store, '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
    let child = start()
    try {
      let port = await portOf(child)
      expect(await send(port, [1, 2, 3])).toBe(3)
      expect(await send(port, [1, 2, 3])).toBe(3)
      expect(await send(port, [3, 4, 7], { gap: '5-6;reason=expired' })).toBe(7)
      expect(await send(port, [3, 4, 7, 8], { device: 'another' })).toBe(-412)
      // A probe is answered and stores nothing: `lines` below are all there is.
      const probe = { method: 'POST', headers: { 'sluice-probe': '1' } }
      expect((await fetch(`http://127.0.0.1:${port}/`, probe)).status).toBe(204)
      child.kill('SIGKILL')
      child = start()
      port = await portOf(child)
      expect(await send(port, [4, 7], { gzip: false })).toBe(7)
      expect(await send(port, [8], { gap: '5-6;reason=expired' })).toBe(8)
      await Promise.all(Array.from({ length: 8 }, () => send(port, [9, 10])))
      const dump = join(folder, 'dump.py')
      writeFileSync(
        dump,
        'import json, sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\nprint(json.dumps([[r[0] for r in db.execute("select line from reading order by rowid")], [r[0] for r in db.execute("select gap from gap")]]))',
      )
      const out = join(folder, 'out.json')
      await new Promise((resolve) => {
        spawn('sh', ['-c', `python3 "${dump}" "${store}" > "${out}"`]).on('close', resolve)
      })
      const [lines, gaps] = JSON.parse(readFileSync(out, 'utf8')) as [string[], string[]]
      expect(lines).toEqual([1, 2, 3, 4, 7, 8, 9, 10].map((seq) => line(seq).trimEnd()))
      expect(gaps).toEqual(['5-6;reason=expired'])
    } finally {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    }
  },
)

testWithTool(
  'python3',
  'I4: the short receiver in README stores every line once, across repeats and its own restart',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-receiver-'))
    const script = join(folder, 'receiver.py')
    // Any port that is free: 9000 may be taken on the machine that tests it.
    writeFileSync(script, printedReceiver('README.md').replace('9000', '0'))
    const start = () =>
      spawn(findTool('python3')!, [script], { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] })
    let child = start()
    try {
      let port = await portOf(child)
      expect(await send(port, [1, 2, 3])).toBe(3)
      expect(await send(port, [2, 3, 4])).toBe(4)
      expect(await send(port, [1], { stream: 'alarms' })).toBe(1)
      const probe = { method: 'POST', headers: { 'sluice-probe': '1', 'content-length': '0' } }
      expect((await fetch(`http://127.0.0.1:${port}/`, probe)).status).toBe(204)
      child.kill('SIGKILL')
      child = start()
      port = await portOf(child)
      expect(await send(port, [4, 7], { gzip: false })).toBe(7)
      const dump =
        'import json, sqlite3; print(json.dumps(sqlite3.connect("readings.db").execute("select queue, line from reading order by rowid").fetchall()))'
      const rows = execFileSync('python3', ['-c', dump], { cwd: folder, encoding: 'utf8' })
      expect(JSON.parse(rows)).toEqual(
        [1, 2, 3, 4]
          .map((seq) => ['g/s/telemetry', line(seq).trimEnd()])
          .concat([
            ['g/s/alarms', line(1).trimEnd()],
            ['g/s/telemetry', line(7).trimEnd()],
          ]),
      )
    } finally {
      child.kill('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    }
  },
)
