/**
 * The first hour as README tells it: its own command publishes a reading, and it is seen to arrive;
 * after an outage, too.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { freePort } from '../../device-sim/free-ports.ts'
import { ROOT, readText } from '../docs/source-tree.ts'
import { GatewayProcess } from '../support/gateway-process.ts'
import { type RunningProcess, reapProcesses, runToEnd, startProgram } from '../support/process.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-first-'))
})
afterEach(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true })
})

/** `npx mqtt pub …` of README's first part, as words without quotes. */
function readmeCommand(): string[] {
  const line = /^npx mqtt (pub .*?)\s+#/m.exec(readText('README.md'))?.[1] ?? ''
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? '')
}

async function publish(port: number, celsius: string): Promise<void> {
  const program = join(ROOT, 'node_modules/.bin/mqtt')
  expect(existsSync(program)).toBe(true)
  const words = readmeCommand().map((word) => word.replace('21.4', celsius))
  const { exit, stderr } = await runToEnd(program, [...words, '-p', String(port)])
  expect(exit.code, stderr).toBe(0)
}

test('README’s own command publishes a reading, the cloud shows it, and one of an outage when it is back', async () => {
  const port = await freePort()
  const startCloud = (): RunningProcess =>
    startProgram('device-sim', ['cloud', '--port', String(port), '--store', join(folder, 'cloud')])
  let cloud = startCloud()
  await cloud.waitForLine('look at')
  const gateway = await GatewayProcess.start({ folder, sinkUrl: `http://127.0.0.1:${port}/ingest` })
  await publish(gateway.mqttPort, '21.4')
  await cloud.waitForLine(
    /^\d\d:\d\d:\d\d {2}press-7 {2}plant\/press-7\/temp {2}\{"celsius":21\.4\}$/,
  )

  cloud.kill('SIGINT')
  expect((await cloud.waitForExit()).code).toBe(0)
  await publish(gateway.mqttPort, '22.6')
  expect((await gateway.status()).streams[0]?.backlogRecords).toBe(1)
  cloud = startCloud()
  await cloud.waitForLine(/press-7 {2}plant\/press-7\/temp {2}\{"celsius":22\.6\}$/)
  expect(cloud.lines.filter(({ text }) => text.includes('celsius'))).toHaveLength(1)
})
