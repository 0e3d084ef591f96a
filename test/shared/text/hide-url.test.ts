/** What of a URL may be shown. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hiddenParts, hideUrl } from '../../../gateway/shared/text/hide-url.ts'

test.each([
  ['https://cloud.example/ingest', 'https://cloud.example/ingest'],
  [
    'https://cloud.example:8443/api/v2/telemetry/write',
    'https://cloud.example:8443/api/v2/telemetry/write',
  ],
  [
    'https://cloud.example/plants/north-2024/ingest',
    'https://cloud.example/plants/north-2024/ingest',
  ],
  ['http://[2001:db8::1]:9000/ingest', 'http://[2001:db8::1]:9000/ingest'],
  ['https://box:hunter2@cloud.example/in', 'https://(hidden)@cloud.example/in'],
  ['https://cloud.example/in?token=abc&site=7', 'https://cloud.example/in?(hidden)'],
  ['https://cloud.example/in?token=abc#part', 'https://cloud.example/in?(hidden)#part'],
  [
    'https://hooks.example/services/T024F/B0HQ1/x8Kq2LmNop4RstUvWx',
    'https://hooks.example/services/T024F/B0HQ1/(hidden)',
  ],
  [
    'https://cloud.example/3f2a9c71-7a55-4be0-9a4e-0b1c2d3e4f50/in',
    'https://cloud.example/(hidden)/in',
  ],
  ['https://cloud.example/tok_9f8e7d6c', 'https://cloud.example/(hidden)'],
  ['https://cloud.example/AbCdEfGhIjKlMnOpQr/', 'https://cloud.example/(hidden)/'],
  ['cloud.example/in?token=abc', 'cloud.example/in?(hidden)'],
  ['', ''],
])('%s is shown as %s', (url, shown) => {
  expect(hideUrl(url)).toBe(shown)
})

test('a token of 20 characters is never shown, wherever it stands behind the host', () => {
  const token = fc.stringMatching(/^[A-Za-z0-9_-]{20,40}$/)
  fc.assert(
    fc.property(
      token,
      fc.constantFrom('/', '/in/', '/in?k=', '/in/a?'),
      fc.constantFrom('', '/x', '&y=1'),
      (secret, before, after) => {
        expect(hideUrl(`https://cloud.example${before}${secret}${after}`)).not.toContain(secret)
        expect(hideUrl(`https://${secret}:x@cloud.example/in`)).not.toContain(secret)
      },
    ),
  )
})

test("the parts that are hidden are known, so that they can be taken out of a server's words", () => {
  expect(hiddenParts(new URL('https://x/in/tok_9f8e7d6c5b4a/y?key=abcdef'))).toEqual([
    'tok_9f8e7d6c5b4a',
    'key=abcdef',
  ])
  expect(hiddenParts(new URL('https://x/in'))).toEqual([])
})
