/** The PROXY header of a connection, taken off before anything else reads from it. */
import type { Socket } from 'node:net'
import { type HeaderFault, type ProxyHeader, readProxyHeader } from './header.ts'

const CUT_OFF: HeaderFault = { fault: 'the connection ended within the PROXY header' }

/**
 * Calls `done` once with what the header says; whatever comes behind it is left in the socket, for
 * who attaches to it at once. A connection that ends before its first byte (a health check that
 * only connects) is not told; time is the caller's to keep.
 */
export function takeProxyHeader(
  socket: Socket,
  done: (header: ProxyHeader | HeaderFault) => void,
): void {
  let read: Buffer = Buffer.alloc(0)
  const finish = (header: ProxyHeader | HeaderFault): void => {
    socket.off('readable', onReadable)
    socket.off('end', onEnd)
    done(header)
  }
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) return
    read = read.length === 0 ? chunk : Buffer.concat([read, chunk])
    const header = readProxyHeader(read)
    if (header === null) return
    if ('bytes' in header && header.bytes < read.length) socket.unshift(read.subarray(header.bytes))
    finish(header)
  }
  const onEnd = (): void => {
    if (read.length > 0) finish(CUT_OFF)
  }
  socket.on('readable', onReadable)
  socket.on('end', onEnd)
}
