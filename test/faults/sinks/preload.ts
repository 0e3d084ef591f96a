/**
 * Given to the gateway by `node --import`: ends or stops it at a named point of an exchange with a
 * receiver, whatever the sink's type, or plants a defect. The product knows nothing of it: what is
 * wrapped stands in ../death/fault-points.ts.
 */
import { readFileSync, writeSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import type { Batch, Sink, SinkAnswer } from '../../../gateway/ports/sink.ts'
import { around, aroundEachSinkType, faultPoints } from '../death/fault-points.ts'
import { plantSinkDefect } from './defects.ts'
import {
  ARMING_SIGNAL,
  DEFECT_VARIABLE,
  lastWords,
  PLAN_VARIABLE,
  type PointPlan,
  type SinkPoint,
} from './points.ts'

const planPath = process.env[PLAN_VARIABLE] ?? ''
let plan = readPlan()
let passed = 0
process.on(ARMING_SIGNAL, () => {
  plan = readPlan()
  passed = 0
})

function readPlan(): PointPlan | null {
  return JSON.parse(readFileSync(planPath, 'utf8')) as PointPlan | null
}

/** Batches that a sink has and has not answered. */
let inFlight = 0

function reach(point: SinkPoint): void {
  if (plan?.point !== point || ++passed !== plan.nth) return
  writeSync(2, `${lastWords(plan)}\n`)
  process.kill(process.pid, plan.deed === 'die' ? 'SIGKILL' : 'SIGSTOP')
}

function step(): void {
  if (inFlight > 0) reach('send.step')
}

async function stepped(call: () => unknown): Promise<unknown> {
  step()
  const result = await call()
  step()
  return result
}

for (const name of [...faultPoints('file'), ...faultPoints('handle')]) around(name, stepped)
syncBuiltinESMExports()

/** Connections that this process has made: sinks alone make any. */
const outgoing = new WeakSet<object>()
around('socket.connect', (call, socket) => {
  outgoing.add(socket as object)
  return call()
})
for (const name of ['socket.write', 'socket.write-many'] as const) {
  around(name, (call, socket) => {
    if (!outgoing.has(socket as object)) return call()
    step()
    const result = call()
    step()
    return result
  })
}
around('socket.read', (call, socket, [chunk]) => {
  if (outgoing.has(socket as object) && chunk !== null && inFlight > 0) {
    reach('answer.unread')
    step()
  }
  return call()
})

function noting(batch: Batch): Batch {
  const keepNote = async (note: string): Promise<void> => {
    reach('note.before')
    await batch.keepNote(note)
    reach('note.after')
  }
  return { ...batch, keepNote }
}

aroundEachSinkType((create) => {
  const sink = create() as Sink
  const send = sink.send.bind(sink)
  sink.send = async (batch, signal): Promise<SinkAnswer> => {
    inFlight++
    reach('send.before')
    try {
      const answer = await send(noting(batch), signal)
      reach('answer.read')
      return answer
    } finally {
      inFlight--
    }
  }
  return sink
})

around('queue.settle', async (call) => {
  reach('settle.before')
  await call()
  reach('settle.after')
})

const defect = process.env[DEFECT_VARIABLE]
if (defect !== undefined) await plantSinkDefect(defect)
