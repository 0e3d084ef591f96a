/**
 * The same through the real gateway process: the first PUBACK in time, and damage anywhere in a
 * table while it runs. There LevelDB may end the process (it checks its keys and not their
 * checksums); whoever supervises the gateway starts it again, and that start must find the damage.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../../device-sim/random.ts'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { publishAll, RawMqtt } from '../../support/raw-mqtt.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { Intactness } from './baseline.ts'
import type { RunResult, Template } from './campaign.ts'
import { changeBytes, DAMAGES, damage } from './damages.ts'
import { copyShape } from './shapes.ts'

/** I7: 10 s, and 30 s for each GiB; a template is a thousandth of one. */
const FIRST_ACK_MS = 10_000
const DRAIN_MS = 20_000
const MAX_STARTS = 4

export async function runProcessDamage(
  root: string,
  templates: readonly Template[],
  seed: number,
  run: number,
): Promise<RunResult> {
  const random = new Random(seed, `process damage ${run}`)
  const nextLevel = levelsInTurn(`${seed} ${run}`)
  const template = templates[run % templates.length] as Template
  const folder = join(root, `process-${run}`)
  const dataDir = join(folder, 'data')
  await copyShape(template.folder, dataDir)
  const whileRunning = random.chance(0.5)
  const kind = DAMAGES[random.below(DAMAGES.length)] ?? 'flip'
  const done = whileRunning
    ? null
    : await damage(dataDir, join(template.folder, 'early'), kind, random)
  const before = await Intactness.of(dataDir)
  const sink = await ScriptedSink.start({ script: whileRunning ? [{ status: 503 }] : [{}] })
  const gateway = await GatewayProcess.prepare({
    folder,
    dataDir,
    sinkUrl: sink.url,
    sections: {
      streams: {
        telemetry: { maxRecordBytes: '2000' },
        alarms: { topics: ['alarms/#'], priority: 1 },
      },
    },
  })
  const faults: string[] = []
  let what = `${template.shape}: ${done?.what ?? 'nothing'}`
  let openMs = 0
  try {
    openMs = await startAndPublish(gateway, 1, nextLevel())
    if (openMs > FIRST_ACK_MS) faults.push(`the first PUBACK took ${openMs.toFixed(0)} ms`)
    let intact = before
    if (whileRunning) {
      const tables = (await readdir(join(dataDir, 'spool'))).filter((name) => name.endsWith('.ldb'))
      const table = tables[random.below(tables.length)]
      const how = (['flip', 'zero', 'garbage'] as const)[random.below(3)] ?? 'flip'
      const changed = table
        ? await changeBytes(join(dataDir, 'spool', table), how, random).catch(() => null)
        : null
      what = `${template.shape}: ${table} of the running gateway: ${changed ?? 'nothing'}`
      intact = await Intactness.of(dataDir)
      sink.script = [{}]
    }
    await drained(gateway)
    await startIfGone(gateway)
    await publish(gateway, 2, nextLevel())
    await drained(gateway)
    assertBalanced(await gateway.status())
    const stored = new Map(
      sink.stored.flatMap(({ lines }) =>
        lines.map((line) => [(JSON.parse(line) as { id: string }).id, line]),
      ),
    )
    const lastWhole = intact.lastWholeCommit(template.baseline)
    for (const { id, text } of template.baseline.lines) {
      const holders = (template.baseline.holders.get(id) ?? []).filter(
        ({ commit }) => commit <= lastWhole,
      )
      const line = stored.get(id)
      if (template.baseline.parked.has(id)) continue
      if (line === undefined && holders.some((value) => intact.has(value)))
        faults.push(`${id} is whole and not delivered`)
      if (line !== undefined && line !== text) faults.push(`${id} has other bytes`)
    }
    for (const n of [1, 2]) {
      if (![...stored.values()].some((line) => line.includes(`{"fresh":${n}}`)))
        faults.push(`new record ${n} is lost`)
    }
  } catch (error) {
    faults.push(`${error instanceof Error ? error.message : String(error)}\n${gateway.logTail(10)}`)
  } finally {
    await gateway.process.reap()
    await sink.close()
    await rm(folder, { recursive: true, force: true })
  }
  const damages = [`process-${whileRunning ? 'running' : (done?.damage ?? 'nothing')}`]
  return { damages, what, faults: faults.slice(0, 10), lost: 0, openMs }
}

/** From the launch to the first PUBACK, ms. */
async function startAndPublish(gateway: GatewayProcess, n: number, level: Level): Promise<number> {
  const began = performance.now()
  await gateway.start()
  await publish(gateway, n, level)
  return performance.now() - began
}

async function publish(gateway: GatewayProcess, n: number, level: Level): Promise<void> {
  const client = await RawMqtt.connect(gateway.mqttPort, { clientId: `fresh-${n}`, level })
  await publishAll(client, 'telemetry/fresh', [`{"fresh":${n}}`])
  await client.end()
}

/** As a supervisor does. */
async function startIfGone(gateway: GatewayProcess): Promise<void> {
  if (!gateway.isRunning) await gateway.start()
}

async function drained(gateway: GatewayProcess): Promise<void> {
  const endMs = performance.now() + DRAIN_MS
  for (let starts = 0; ; ) {
    if (!gateway.isRunning) {
      if (++starts > MAX_STARTS) throw new Error('it does not stay up')
      await gateway.start()
    }
    const status = await gateway.status().catch(() => null)
    // Parked ones wait for a later record to be accepted: the new one is that.
    if (status?.streams.every(({ counters }) => counters.pending === 0)) return
    if (performance.now() > endMs)
      throw new Error(`not drained: ${JSON.stringify(status?.streams.map((s) => s.counters))}`)
    await sleep(20)
  }
}
