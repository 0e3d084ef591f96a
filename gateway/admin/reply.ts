/** Answers and refusals as bytes of HTTP, with the headers that keep a browser in bounds. */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import type { AdminRefusal } from './errors.ts'
import type { AdminAnswer } from './routes/route.ts'

const NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"

export function send(response: ServerResponse, answer: AdminAnswer, method: string): void {
  const { status, contentType, body, headers = {}, policy = NO_CONTENT } = answer
  if (response.destroyed || response.headersSent) return
  const isWhole = typeof body === 'string' || body instanceof Uint8Array
  response.writeHead(status, {
    'Content-Type': contentType,
    ...(isWhole ? { 'Content-Length': Buffer.byteLength(body) } : {}),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Content-Security-Policy': policy,
    ...headers,
  } as OutgoingHttpHeaders)
  if (method === 'HEAD') response.end()
  else if (isWhole) response.end(body)
  else if (typeof body === 'function') body(response)
  // One that fails half way loses its connection: the reader knows that it is not whole.
  else pipeline(Readable.from(body), response, () => undefined)
}

export function sendRefusal(
  response: ServerResponse,
  { status, code, message, details = {} }: AdminRefusal,
  method: string,
): void {
  // The connection may still carry the rest of a body that was too large or never ends.
  response.shouldKeepAlive = false
  if (status === 401) response.setHeader('WWW-Authenticate', 'Bearer realm="sluice"')
  const body = `${JSON.stringify({ error: { code, message, ...details } })}\n`
  send(response, { status, contentType: 'application/json; charset=utf-8', body }, method)
}
