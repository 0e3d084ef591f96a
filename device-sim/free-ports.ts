/**
 * Ports for servers that other processes are told of before they listen, or that go away and come
 * back. The system gives its own choice (port 0) to the next connection of anybody as soon as
 * nobody listens there: so these lie outside of the range that it chooses from. While its server is
 * away a port looks free to other processes that choose in this way: so whoever chose it holds the
 * UDP port of the same number until its process ends.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

/** Below it are ports of well-known services. */
const FIRST_PORT = 10_000
/** Where the system's own choice begins if it does not say (RFC 6335, section 6). */
const DYNAMIC_FROM = 49_152
/** Where that leaves next to nothing, any port will do. */
const LEAST_CHOICE = 1_000
const MAX_TRIES = 100

/** What this process has chosen, and the UDP sockets that tell others so. */
const held = new Map<number, Socket>()

/**
 * The first port of those that the system gives to connections (ip_local_port_range, Linux
 * ip-sysctl).
 */
function dynamicFrom(): number {
  try {
    const from = Number.parseInt(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'), 10)
    return from - FIRST_PORT >= LEAST_CHOICE ? from : 65_536
  } catch {
    return DYNAMIC_FROM
  }
}

/** False where this process or another one has chosen it already. */
async function hold(port: number): Promise<boolean> {
  if (held.has(port)) return false
  const socket = createSocket('udp4')
  held.set(port, socket)
  try {
    socket.bind({ port, address: '127.0.0.1', exclusive: true })
    await once(socket, 'listening')
  } catch {
    socket.close()
    held.delete(port)
    return false
  }
  socket.unref()
  return true
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}

/**
 * Ports of 127.0.0.1 that nobody uses just now, each another one, none that this process or another
 * one that runs was given before. @param random from 0 to below 1. @throws when there is none
 */
export async function freePorts(count: number, random = Math.random): Promise<number[]> {
  const choice = dynamicFrom() - FIRST_PORT
  const ports: number[] = []
  for (let tries = 0; ports.length < count; tries += 1) {
    if (tries === count * MAX_TRIES)
      throw new Error(`no free port from ${FIRST_PORT} to ${FIRST_PORT + choice}`)
    const port = FIRST_PORT + Math.floor(random() * choice)
    if ((await hold(port)) && (await isFree(port))) ports.push(port)
  }
  return ports
}

export async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1)
  return port
}
