/**
 * A program that brings the batches of a folder to a receiver, bare, and prints how long it took.
 * The first batch opens connections and is not counted.
 */
import { type BareBatch, readBatches } from './batches.ts'
import { fileSender } from './files.ts'
import { kafkaSender } from './kafka.ts'
import { mqttSender } from './mqtt.ts'
import { natsSender } from './nats.ts'
import { postgresSender } from './postgres.ts'
import type { Sender } from './sender.ts'
import type { BareResult, BareRun, BareTask } from './task.ts'
import { postSender, putSender } from './web.ts'

async function senderOf(task: BareTask): Promise<Sender> {
  if (task.kind === 'post') return postSender(task)
  if (task.kind === 'put') return putSender(task)
  if (task.kind === 'files') return await fileSender(task)
  if (task.kind === 'mqtt') return await mqttSender(task)
  if (task.kind === 'postgres') return await postgresSender(task)
  if (task.kind === 'kafka') return await kafkaSender(task)
  return await natsSender(task)
}

async function send(sender: Sender, batches: readonly BareBatch[]): Promise<number> {
  for (const batch of batches) await sender.send(batch)
  await sender.finish()
  return batches.reduce((sum, { records }) => sum + records.length, 0)
}

const run = JSON.parse(process.argv[2] ?? '') as BareRun
const batches = readBatches(run.batches, run.records)
const sender = await senderOf(run.task)
await send(sender, batches.slice(0, 1))
const began = { ms: performance.now(), cpu: process.cpuUsage() }
const records = await send(sender, batches.slice(1))
const { user, system } = process.cpuUsage(began.cpu)
const seconds = (performance.now() - began.ms) / 1000
await sender.close()
const result: BareResult = { records, seconds, cpuSeconds: (user + system) / 1e6 }
process.stdout.write(`${JSON.stringify(result)}\n`)
