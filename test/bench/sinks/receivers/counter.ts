/**
 * A web service that inflates and parses each body, counts its records and answers as its kind
 * does. argv: port.
 */
import { createServer, type ServerResponse } from 'node:http'
import { gunzip } from 'node:zlib'

type Parsed = { readonly records: number; readonly answer: string | null }

const KINDS: Readonly<Record<string, (text: string) => Parsed>> = {
  '/ndjson': (text) => ({ records: linesOf(text).map(parsed).length, answer: null }),
  '/json-array': (text) => ({ records: (JSON.parse(text) as unknown[]).length, answer: null }),
  '/_bulk': (text) => {
    const records = linesOf(text).map(parsed).length / 2
    const items = Array.from({ length: records }, () => ({ create: { status: 201 } }))
    return { records, answer: JSON.stringify({ errors: false, items }) }
  },
  '/v1/logs': (text) => {
    const { resourceLogs } = JSON.parse(text) as Logs
    const records = resourceLogs.flatMap(({ scopeLogs }) => scopeLogs)
    return {
      records: records.reduce((sum, { logRecords }) => sum + logRecords.length, 0),
      answer: '{}',
    }
  },
}

interface Logs {
  readonly resourceLogs: ReadonlyArray<{
    readonly scopeLogs: ReadonlyArray<{ readonly logRecords: readonly unknown[] }>
  }>
}

function linesOf(text: string): string[] {
  return text.trimEnd().split('\n')
}

function parsed(line: string): unknown {
  return JSON.parse(line)
}

let stored = 0

function answer(response: ServerResponse, { records, answer: text }: Parsed): void {
  stored += records
  if (text === null) response.writeHead(204).end()
  else response.writeHead(200, { 'content-type': 'application/json' }).end(text)
}

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? '', 'http://127.0.0.1')
  if (pathname === '/counts') {
    response.end(JSON.stringify({ stored }))
    return
  }
  const parse = KINDS[pathname]
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    gunzip(Buffer.concat(chunks), (error, bytes) => {
      if (error !== null || parse === undefined) response.writeHead(400).end(String(error))
      else answer(response, parse(bytes.toString()))
    })
  })
})
server.listen(Number(process.argv[2]), '127.0.0.1')
