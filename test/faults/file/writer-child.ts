/**
 * The process of a file sink's fault run: sends the batches of a plan in their order, each until it
 * is acked, as the drain would, and says what came of each. It may be killed anywhere; the next one
 * is told where to go on. Its calls of the disk may fail one after the other.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { createFileSink } from '../../../gateway/sink/file/sink.ts'
import { NoteWriter } from '../power/journal.ts'
import { batchAt, type ChildPlan, configOf, type Said } from './plan.ts'

const plan = JSON.parse(process.argv[2] ?? '') as ChildPlan
const journal = plan.journal === undefined ? null : new NoteWriter(plan.journal)
/** A fault that stays is over after so many tries. */
const TRIES = 2
/** Then something is wrong. */
const MAX_TRIES = 100

function say(what: Said): void {
  journal?.write(what)
  process.stdout.write(`${JSON.stringify(what)}\n`)
}

const config = configOf(plan.folder)
const sink = createFileSink({ name: 'stick', config, emit: () => undefined, lookMs: 10 })
const never = new AbortController().signal
const faults = [...(plan.faults ?? [])]

for (let n = plan.from; n < plan.from + plan.batches; n++) {
  const fault = faults.shift()
  // What is read again is a file that is there: of a batch whose ack got lost.
  if (fault?.startsWith('call read ')) await sink.send(batchAt(plan.seed, n), never)
  if (plan.flag !== undefined && fault !== undefined) writeFileSync(plan.flag, fault)
  for (let tries = 1; ; tries++) {
    const answer = await sink.send(batchAt(plan.seed, n), never)
    if (answer.kind === 'verdicts') break
    say({ batch: n, fault: fault ?? '', kind: answer.kind, detail: answer.detail })
    if (tries >= MAX_TRIES) process.exit(1)
    if (plan.flag !== undefined && tries >= TRIES) rmSync(plan.flag, { force: true })
    await sleep(1)
  }
  const hit = plan.flag !== undefined && existsSync(`${plan.flag}.hits`)
  say({ acked: n, fault: fault ?? '', hit })
  if (plan.flag === undefined) continue
  for (const end of ['', '.hits']) rmSync(plan.flag + end, { force: true })
  // A call without a fault: the library counts from 0 again.
  await access(plan.folder)
}
await sink.close()
journal?.close()
