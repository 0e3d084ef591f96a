/**
 * A way through an HTTP proxy: `CONNECT host:port` (RFC 9110, section 9.3.6), whatever is spoken
 * behind it, so that the bytes between here and the sink are nobody's but theirs. Not here: which
 * proxy, and whether one (proxy/).
 */
import type { Socket } from 'node:net'
import { hostAndPort } from '../../../shared/hosts.ts'
import { LinkError, ProxyRefusal } from './link-error.ts'

/** The head of a proxy's answer has a few hundred bytes. */
const MAX_HEAD_BYTES = 64 * 1024

export interface ProxyHop {
  /** Of the proxy, without brackets. */
  readonly hostname: string
  readonly port: number
  /** Value of `Proxy-Authorization`; null: none. */
  readonly authorization: string | null
}

/**
 * Asks the proxy at the other end of `socket` for a connection. Resolves when the tunnel is open;
 * returns what ends the wait.
 */
export function openTunnel(
  socket: Socket,
  target: { readonly hostname: string; readonly port: number },
  { authorization }: ProxyHop,
  resolve: (value: void) => void,
  reject: (error: unknown) => void,
): () => void {
  const authority = hostAndPort(target.hostname, target.port)
  const lines = [`CONNECT ${authority} HTTP/1.1`, `host: ${authority}`, 'user-agent: sluice']
  if (authorization !== null) lines.push(`proxy-authorization: ${authorization}`)
  let head: Buffer = Buffer.alloc(0)
  const onData = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) {
      if (head.length > MAX_HEAD_BYTES)
        reject(new LinkError('HEAD_TOO_LONG', 'the head of the answer of the proxy is too long'))
      return
    }
    const fault = faultIn(head.toString('latin1', 0, end), head.length - end - 4)
    if (fault === null) resolve()
    else reject(fault)
  }
  const onEnd = (): void => reject(new LinkError('CLOSED', 'the proxy closed the connection'))
  socket.on('data', onData).on('error', reject).on('end', onEnd).on('close', onEnd)
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  return () => {
    socket.off('data', onData).off('error', reject).off('end', onEnd).off('close', onEnd)
  }
}

/** Why the tunnel is not open; null: it is. @param behind bytes that came behind the head */
function faultIn(head: string, behind: number): Error | null {
  const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |\r|$)/.exec(head)?.[1] ?? 0)
  if (status === 0) return new LinkError('NOT_HTTP', 'the proxy does not answer in HTTP')
  if (status < 200 || status > 299) return new ProxyRefusal(status)
  // In TLS, HTTP and MQTT the client speaks first: these bytes are not the sink's.
  return behind === 0 ? null : new LinkError('NOT_HTTP', 'the proxy sent bytes nobody asked for')
}
