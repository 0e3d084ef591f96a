/**
 * The sink of the benchmarks: inflates and counts what arrives, answers 204. Prints its counts as a
 * line per second.
 */
import { createServer } from 'node:http'
import { createGunzip } from 'node:zlib'

let records = 0
let wireBytes = 0
let rawBytes = 0
const server = createServer((request, response) => {
  if (request.url === '/counts') {
    response.end(JSON.stringify({ records, wireBytes, rawBytes }))
    return
  }
  const gunzip = createGunzip({ chunkSize: 256 * 1024 })
  const count = Number(request.headers['sluice-record-count'])
  let lines = 0
  request.on('data', (chunk: Buffer) => {
    wireBytes += chunk.length
  })
  request.pipe(gunzip)
  gunzip.on('data', (chunk: Buffer) => {
    rawBytes += chunk.length
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++
  })
  gunzip.on('end', () => {
    if (lines !== count) {
      response.writeHead(500).end(`${lines} lines instead of ${count}`)
      return
    }
    records += lines
    response.writeHead(204).end()
  })
  gunzip.on('error', (error) => response.writeHead(400).end(error.message))
})
server.listen(Number(process.argv[2]), '127.0.0.1')
