/**
 * One HTTP exchange with an admin server. Not `fetch`: that refuses a list of ports (6000, 6667,
 * 10080, …) that were dangerous for browsers, and an operator may have chosen one.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'

/** A page of dead letters with the largest records that a stream may have. */
const MAX_ANSWER_BYTES = 512 * 1024 * 1024

interface JsonRequest {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | null
  readonly timeoutMs: number
  /** Instead of the URL's address. */
  readonly socketPath?: string | null
}

export interface JsonAnswer {
  readonly status: number
  /** undefined: the answer was not JSON. */
  readonly body: unknown
}

/** Rejects with the socket's error (`code`), or a time-out. */
export async function requestJson({
  method,
  url,
  headers,
  body,
  timeoutMs,
  socketPath,
}: JsonRequest): Promise<JsonAnswer> {
  const signal = AbortSignal.timeout(timeoutMs)
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  try {
    return await new Promise<JsonAnswer>((resolve, reject) => {
      const outgoing = send(
        url,
        { method, headers, signal, agent: false, ...(socketPath ? { socketPath } : {}) },
        (incoming) => {
          const chunks: Buffer[] = []
          let bytes = 0
          incoming.on('data', (chunk: Buffer) => {
            bytes += chunk.length
            if (bytes > MAX_ANSWER_BYTES)
              incoming.destroy(new Error(`the answer is over ${MAX_ANSWER_BYTES} bytes`))
            chunks.push(chunk)
          })
          incoming.once('error', reject)
          incoming.once('end', () =>
            resolve({
              status: incoming.statusCode ?? 0,
              body: parse(Buffer.concat(chunks).toString('utf8')),
            }),
          )
        },
      )
      outgoing.once('error', reject)
      outgoing.end(body ?? undefined)
    })
  } catch (error) {
    if (signal.aborted) throw new Error(`no answer within ${timeoutMs / 1_000} s`, { cause: error })
    throw error
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** An answer that is read as it comes, however long it takes. */
export async function openStream({
  url,
  headers,
  socketPath,
}: Pick<JsonRequest, 'url' | 'headers' | 'socketPath'>): Promise<IncomingMessage> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  return await new Promise((resolve, reject) => {
    const outgoing = send(
      url,
      { headers, agent: false, ...(socketPath ? { socketPath } : {}) },
      resolve,
    )
    outgoing.once('error', reject)
    outgoing.end()
  })
}
