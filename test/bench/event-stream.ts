/** The live view of a gateway as a console asks for it. */
import { type ClientRequest, get, type IncomingMessage } from 'node:http'

/** Reads a stream to nowhere; resolves with its first event. */
export async function openEvents(adminUrl: string): Promise<ClientRequest> {
  return new Promise((resolve, reject) => {
    const request = get(`${adminUrl}/api/events`, (response: IncomingMessage) => {
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`))
      response.once('data', () => resolve(request))
      response.on('error', () => undefined)
    })
    request.on('error', reject)
  })
}
