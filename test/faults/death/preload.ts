/**
 * Given to the gateway by `node --import`: ends it with SIGKILL at a named point, or plants a
 * defect, both told by the environment. The product knows nothing of it: what is
 * wrapped stands in fault-points.ts.
 */
import { writeSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import type { ClientAnswer } from '../../../gateway/sink/http/client/connection.ts'
import type { Doomed } from '../../../gateway/spool/retention/retention.ts'
import { blockKey, parseCommitKey } from '../../../gateway/spool/store/keys.ts'
import type { SpoolStream } from '../../../gateway/spool/stream/stream.ts'
import { plantDefect } from './defects.ts'
import { around, faultPoints } from './fault-points.ts'
import {
  ARMING_SIGNAL,
  DEFECT_VARIABLE,
  type DeathPlan,
  type Defect,
  type InnerPoint,
  LAST_WORDS,
  PLAN_VARIABLE,
  STEPS_WORDS,
} from './points.ts'

type Phase = 'recovery' | 'running' | 'stop'

const plan = JSON.parse(process.env[PLAN_VARIABLE] ?? 'null') as DeathPlan | null
let isArmed = plan?.point === 'recovery.step'
let passed = 0
let phase: Phase = 'recovery'
const steps: Record<Phase, number> = { recovery: 0, running: 0, stop: 0 }

process.on(ARMING_SIGNAL, () => {
  isArmed = true
})

function isNow(point: InnerPoint): boolean {
  if (!isArmed || plan?.point !== point) return false
  return ++passed === plan.nth
}

function die(): void {
  writeSync(2, `${LAST_WORDS} ${plan?.point} ${plan?.nth}\n`)
  process.kill(process.pid, 'SIGKILL')
}

function reach(point: InnerPoint): void {
  if (isNow(point)) die()
}

function step(): void {
  steps[phase]++
  reach(`${phase}.step`)
}

function enter(next: Phase): void {
  writeSync(2, `${STEPS_WORDS} ${phase} ${steps[phase]}\n`)
  phase = next
}

/** Before, and when it is done. */
async function stepped(call: () => unknown): Promise<unknown> {
  step()
  const result = await call()
  step()
  return result
}

for (const name of [...faultPoints('file'), ...faultPoints('handle')]) around(name, stepped)
syncBuiltinESMExports()
for (const name of ['store.open', 'store.close'] as const) around(name, stepped)

/** Blocks that a limit has dropped, until the write that deletes them. */
const dropped = new Set<string>()
around('stream.drop', (call, self, [doomed]) => {
  const { state } = self as SpoolStream
  for (const { meta } of doomed as readonly Doomed[]) {
    dropped.add(blockKey(meta.commit, state.id, meta.index).toString('hex'))
  }
  return call()
})

type Write = 'commit' | 'settle' | 'retention' | 'note'

function writesOf(ops: ReadonlyArray<{ readonly type: string; readonly key: Buffer }>): Set<Write> {
  const writes = new Set<Write>()
  for (const { type, key } of ops) {
    if (parseCommitKey(key)?.kind !== 'block') continue
    if (type === 'put') writes.add('commit')
    else writes.add(dropped.delete(key.toString('hex')) ? 'retention' : 'settle')
  }
  return writes.size > 0 ? writes : new Set(['note'])
}

around('store.write', async (call, _, [ops]) => {
  const writes = writesOf(ops as Parameters<typeof writesOf>[0])
  step()
  for (const write of writes) reach(`${write}.before`)
  const done = call()
  for (const write of writes) {
    if (!isNow(`${write}.during`)) continue
    const endMs = performance.now() + (plan?.afterUs ?? 0) / 1000
    while (performance.now() < endMs);
    die()
  }
  await done
  step()
  for (const write of writes) reach(`${write}.after`)
})

around('lease.write', async (call) => {
  reach('lease.before')
  await call()
  reach('lease.after')
})

// The whole answer is there, and nobody knows of it yet.
around('sink.send', async (call) => {
  const answer = (await call()) as ClientAnswer
  if (answer.head !== null && answer.error === null) reach('answer')
  return answer
})

around('broker.start', async (call) => {
  const broker = await call()
  enter('running')
  return broker
})
around('broker.stop', (call) => {
  enter('stop')
  return call()
})
process.on('exit', () => enter(phase))

const defect = process.env[DEFECT_VARIABLE]
if (defect !== undefined) plantDefect(defect as Defect)
