/** A loop that posts or puts each batch over one connection and waits for the answer. */
import { Agent, request } from 'node:http'
import { bodyOf } from './bodies.ts'
import { nothingLeft, type Sender } from './sender.ts'
import type { BareTask } from './task.ts'

export function postSender(task: Extract<BareTask, { kind: 'post' }>): Sender {
  const { url, headers, form, maxRecords } = task
  return webSender(async (exchange, { stored, records: all }) => {
    const step = maxRecords ?? all.length
    for (let at = 0; at < all.length; at += step) {
      const records = all.slice(at, at + step)
      const count = { 'content-encoding': 'gzip', 'sluice-record-count': records.length }
      await exchange('POST', url, { ...count, ...headers }, await bodyOf({ stored, records }, form))
    }
  })
}

export function putSender({ url, headers }: Extract<BareTask, { kind: 'put' }>): Sender {
  return webSender(async (exchange, { name, stored }) => {
    await exchange('PUT', `${url}/${name}`, headers, stored)
  })
}

type Exchange = (
  method: string,
  url: string,
  headers: Readonly<Record<string, string | number>>,
  body: Buffer,
) => Promise<void>

function webSender(
  send: (exchange: Exchange, batch: Parameters<Sender['send']>[0]) => Promise<void>,
): Sender {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const exchange: Exchange = (method, url, headers, body) =>
    new Promise((resolve, reject) => {
      const asked = request(url, {
        method,
        agent,
        headers: { ...headers, 'content-length': body.length },
      })
      asked.on('error', reject)
      asked.on('response', (answer) => {
        const { statusCode = 0 } = answer
        answer.resume()
        answer.on('end', () => {
          if (statusCode >= 200 && statusCode < 300) resolve()
          else reject(new Error(`${method} ${url} answers ${statusCode}`))
        })
      })
      asked.end(body)
    })
  return {
    ...nothingLeft,
    send: (batch) => send(exchange, batch),
    close: async () => agent.destroy(),
  }
}
