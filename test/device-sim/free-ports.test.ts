import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { freePort, freePorts } from '../../device-sim/free-ports.ts'
import { builtFile, reapProcesses, runToEnd } from '../support/process.ts'

afterEach(reapProcesses)

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

test('no port is given to two processes, whether anybody listens there or not', async () => {
  const draws = Array.from({ length: 20 }, Math.random)
  const drawn = draws.values()
  const mine = await freePorts(10, () => drawn.next().value ?? 0)
  // The other one draws the same.
  const code = `const { freePorts } = await import(${JSON.stringify(builtFile('device-sim/free-ports.js'))})
    const drawn = ${JSON.stringify(draws)}.values()
    console.log(JSON.stringify(await freePorts(5, () => drawn.next().value ?? 0)))`
  const args = ['--input-type=module', '-e', code]
  const { exit, stdout, stderr } = await runToEnd(process.execPath, args)
  expect(exit.code, stderr).toBe(0)
  const theirs = JSON.parse(stdout) as number[]
  expect(theirs).toHaveLength(5)
  expect(theirs.filter((port) => mine.includes(port))).toEqual([])
})
