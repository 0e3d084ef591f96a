/**
 * The client library leaves the socket of a connection that it gave up as it is: one more descriptor
 * with each try, for as long as the far side accepts connections and says nothing. Here they end
 * with the try.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

/** Of the tries in progress, each with the sockets that it opened. */
let tries: AsyncLocalStorage<Set<Socket>> | null = null

/**
 * Runs a try to connect.
 *
 * @param connect is given what ends sockets of TLS, which no channel tells of
 */
export async function closingOnFailure<T>(
  connect: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const sockets = new Set<Socket>()
  const ending = new AbortController()
  try {
    return await watched().run(sockets, () => connect(ending.signal))
  } catch (error) {
    ending.abort()
    for (const socket of sockets) socket.destroy()
    throw error
  }
}

function watched(): AsyncLocalStorage<Set<Socket>> {
  if (tries !== null) return tries
  const storage = new AsyncLocalStorage<Set<Socket>>()
  subscribe('net.client.socket', (message) => {
    storage.getStore()?.add((message as { readonly socket: Socket }).socket)
  })
  tries = storage
  return storage
}
