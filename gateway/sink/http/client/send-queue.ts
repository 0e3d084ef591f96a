/**
 * How much of what was written to a connection its other side has not taken yet: what the kernel
 * still holds. Node cannot ask a socket (SIOCOUTQ), but Linux tells it of all of them in
 * /proc/net/tcp. Reading that costs milliseconds, so it is for the moments in which something hangs
 * on it. Not here: what follows.
 */
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'

/**
 * Bytes that were written and not acknowledged by the other side's kernel; null: cannot be known
 * here.
 */
export async function unacknowledgedBytes(socket: Socket): Promise<number | null> {
  const { localPort, remotePort, remoteFamily } = socket
  if (localPort === undefined || remotePort === undefined) return null
  try {
    const table = await readFile(
      remoteFamily === 'IPv6' ? '/proc/net/tcp6' : '/proc/net/tcp',
      'latin1',
    )
    return queueIn(table, localPort, remotePort)
  } catch {
    return null
  }
}

/**
 * Of the connection between these ports. Another one with the same two has another address: the
 * larger queue counts.
 */
export function queueIn(table: string, localPort: number, remotePort: number): number | null {
  const ends = `:${hexPort(localPort)} [0-9A-F]+:${hexPort(remotePort)} [0-9A-F]{2} ([0-9A-F]{8}):`
  let queue: number | null = null
  for (const found of table.matchAll(new RegExp(ends, 'g'))) {
    queue = Math.max(queue ?? 0, Number.parseInt(found[1] ?? '0', 16))
  }
  return queue
}

function hexPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, '0')
}
