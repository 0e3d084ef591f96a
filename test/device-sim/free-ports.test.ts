import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { freePort, freePorts } from '../../device-sim/free-ports.ts'

test('ports differ, can be listened on, and are none that the system gives to others', async () => {
  const ports = await freePorts(200)
  expect(new Set(ports).size).toBe(200)
  const own = '/proc/sys/net/ipv4/ip_local_port_range'
  const [from = 0, to = 0] = existsSync(own)
    ? readFileSync(own, 'utf8').split(/\s+/).map(Number)
    : [49_152, 65_535]
  expect(ports.filter((port) => port >= from && port <= to)).toEqual([])
  const server = createServer().listen(await freePort(), '127.0.0.1')
  await once(server, 'listening')
  server.close()
})
