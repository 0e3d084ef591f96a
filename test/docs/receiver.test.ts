/**
 * The receiver printed in the ingest contract runs as it stands and keeps the contract's promise: every line
 * once, in order (I4).
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32, gzipSync } from 'node:zlib'
import { expect } from 'vitest'
import { testWithTool } from '../support/tool-tests.ts'
import { findTool } from '../support/tools.ts'
import { readText } from './source-tree.ts'

function printedReceiver(): string {
  const contract = readText('gateway/sink/http/README.md')
  const code = /```python\n([\s\S]*?)```/.exec(contract)?.[1]
  if (code === undefined) throw new Error('the contract has no Python receiver')
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
  'I4: the printed Python receiver stores every line once, across repeats, overlaps and its own restart',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-receiver-'))
    const script = join(folder, 'receiver.py')
    const store = join(folder, 'store.db')
    writeFileSync(script, printedReceiver())
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
