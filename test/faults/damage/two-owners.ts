/**
 * Two gateways and a command on one data folder, in pid namespaces of their own, as two containers
 * on one volume are: a rolling update, a second `docker run`. Whoever comes second is refused
 * before it touches anything (I1, I4, I5).
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Random } from '../../../device-sim/random.ts'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { builtProgram, runToEnd } from '../../support/process.ts'
import { publishAll, RawMqtt } from '../../support/raw-mqtt.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { findTool } from '../../support/tools.ts'
import type { RunResult } from './campaign.ts'

export const CONTAINER = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'] as const

export function canHaveContainers(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0 && findTool('unshare') !== null
}

export async function runTwoOwners(root: string, name: string, random: Random): Promise<RunResult> {
  const began = performance.now()
  const folder = join(root, name)
  const dataDir = join(folder, 'data')
  const sink = await ScriptedSink.start({ script: [{ status: 503 }] })
  const prepare = async (own: string, wrap: readonly string[]): Promise<GatewayProcess> => {
    await mkdir(join(folder, own), { recursive: true })
    return await GatewayProcess.prepare({
      folder: join(folder, own),
      dataDir,
      sinkUrl: sink.url,
      wrap,
    })
  }
  const first = await prepare('first', CONTAINER)
  const second = await prepare('second', random.chance(0.5) ? CONTAINER : [])
  const third = await prepare('third', [])
  const nextLevel = levelsInTurn(String(random.next()))
  const faults: string[] = []
  try {
    await first.start()
    await publish(first, nextLevel(), 1, 1 + random.below(20))
    second.launch()
    const exit = await second.process.waitForExit(20_000)
    if (exit.code !== 1 || !second.process.stderr.includes('a process that this one cannot see'))
      faults.push(`the second one was not refused: ${exit.code} ${second.logTail(5)}`)
    // It works on the folder alone, and asks no gateway.
    const command = await runToEnd(process.execPath, [
      builtProgram('gateway'),
      'spool',
      'restore-aside',
      '--config',
      second.configPath,
    ])
    if (command.exit.code !== 1 || !command.stderr.includes('a process that this one cannot see'))
      faults.push(`the command was not refused: ${command.stdout}${command.stderr}`)
    await publish(first, nextLevel(), 101, 1 + random.below(20))
    const received = (await first.status()).streams[0]?.counters.received ?? 0
    await first.kill()
    sink.script = [{}]
    await third.start()
    const end = await third.untilStatus(
      'all is delivered',
      (now) => now.streams[0]?.counters.pending === 0,
    )
    assertBalanced(end)
    if (end.streams[0]?.counters.delivered !== received)
      faults.push(`${received} were acknowledged, ${end.streams[0]?.counters.delivered} delivered`)
    if (end.spool.damage.length > 0)
      faults.push(`it is called damaged: ${end.spool.damage.join('; ')}`)
    const moved = (await readdir(dataDir)).filter((name) => /damaged|stray|unreadable/.test(name))
    if (moved.length > 0) faults.push(`moved away: ${moved.join(', ')}`)
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error))
  } finally {
    for (const gateway of [first, second, third])
      if (gateway.wasStarted) await gateway.process.reap()
    await sink.close()
    await rm(folder, { recursive: true, force: true })
  }
  return {
    damages: ['two-owners'],
    what: 'two owners',
    faults,
    lost: 0,
    openMs: performance.now() - began,
  }
}

async function publish(
  gateway: GatewayProcess,
  level: Level,
  from: number,
  count: number,
): Promise<void> {
  const client = await RawMqtt.connect(gateway.mqttPort, { clientId: `device-${from}`, level })
  const payloads = Array.from({ length: count }, (_, n) => `{"n":${from + n}}`)
  await publishAll(client, 'telemetry/x', payloads)
  await client.end()
}
