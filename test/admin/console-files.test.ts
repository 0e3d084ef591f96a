/** The files of a built console: found, compressed, kept by browsers, and no more than those. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CONSOLE_POLICY, ConsoleFiles } from '../../gateway/admin/console-files.ts'

const SCRIPT = `console.log(${'1 +'.repeat(1_000)} 1)`

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-console-'))
  await mkdir(join(folder, 'assets'))
  await writeFile(join(folder, 'index.html'), '<!doctype html>')
  await writeFile(join(folder, 'assets', 'main-8f3a.js'), SCRIPT)
  await writeFile(join(folder, 'assets', 'main-8f3a.js.map'), '{}')
  await writeFile(join(folder, 'manifest.json'), '{}')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('the page is asked for anew, what it loads is kept for good, and both are bound to this origin', async () => {
  const files = new ConsoleFiles(folder)
  const page = await files.answer('index.html', {})
  expect(page).toMatchObject({
    contentType: 'text/html; charset=utf-8',
    policy: CONSOLE_POLICY,
    headers: { 'Cache-Control': 'no-cache', Vary: 'Accept-Encoding' },
  })
  const script = await files.answer('assets/main-8f3a.js', {})
  expect(script).toMatchObject({
    contentType: 'text/javascript; charset=utf-8',
    headers: { 'Cache-Control': 'public, max-age=31536000, immutable' },
  })
  expect(script?.body).toEqual(Buffer.from(SCRIPT))
  expect(CONSOLE_POLICY).not.toContain('unsafe')
})

test.each([
  ['gzip, deflate', true],
  ['br;q=1.0, gzip;q=0.5', true],
  ['GZIP', true],
  ['br, gzip;q=0', false],
  ['identity', false],
  ['xgzip', false],
])('Accept-Encoding %j: compressed %s', async (encoding, isCompressed) => {
  const answer = await new ConsoleFiles(folder).answer('assets/main-8f3a.js', {
    'accept-encoding': encoding,
  })
  expect(answer?.headers?.['Content-Encoding']).toBe(isCompressed ? 'gzip' : undefined)
  const body = answer?.body as Buffer
  expect(String(isCompressed ? gunzipSync(body) : body)).toBe(SCRIPT)
  expect(body.length < SCRIPT.length).toBe(isCompressed)
})

test('nothing else of the folder is given out, nor anything beside it', async () => {
  const files = new ConsoleFiles(folder)
  for (const name of [
    'manifest.json',
    'assets/main-8f3a.js.map',
    '../users',
    'assets/../index.html',
  ])
    expect(await files.answer(name, {})).toBeNull()
})

test('a folder where nothing was built has no files', async () => {
  await rm(join(folder, 'manifest.json'))
  expect(await new ConsoleFiles(folder).answer('index.html', {})).toBeNull()
  expect(await new ConsoleFiles(join(folder, 'nowhere')).answer('index.html', {})).toBeNull()
})
