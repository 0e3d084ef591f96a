/**
 * The process of an errno run: opens a spool, appends, delivers, reopens, verifies, stops; in one
 * of these phases a call of the disk fails. Does what the gateway does about errors: what may pass
 * is tried again, what is refused ends it. Prints what it acknowledged and delivered, a JSON object
 * a line.
 */
import { rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isPassing } from '../../../gateway/spool/disk/disk-errors.ts'
import {
  FolderInUseError,
  FolderUnusableError,
  NoLocksError,
} from '../../../gateway/spool/disk/folder-errors.ts'
import type { Spool } from '../../../gateway/spool/spool.ts'
import type { OpenStore } from '../../../gateway/spool/store/store.ts'
import {
  durable,
  ENCODER,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
  settleAll,
} from '../../support/spool-fixture.ts'
import { PLANTED, REFUSED_EXIT } from './errno.ts'
import { OPEN_OPTIONS, smallStores } from './shapes.ts'

const [dataDir = '', phase = '', fault = '', flag = '', defect = ''] = process.argv.slice(2)
/** A fault that stays is over then: nobody waits for ever in a test. */
const FAULT_MS = 300
const RETRY_MS = 20
const BATCH_RECORDS = 60

function arm(at: string): void {
  if (phase !== at) return
  writeFileSync(flag, fault)
  setTimeout(() => rmSync(flag, { force: true }), FAULT_MS)
}

function say(what: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(what)}\n`)
}

async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (isRefusal(error)) {
        say({ refused: (error as Error).message, code: (error as FolderInUseError).code })
        process.exit(REFUSED_EXIT)
      }
      if (!isPassing(error) && phase === 'open') throw error
      await sleep(RETRY_MS)
    }
  }
}

function isRefusal(error: unknown): boolean {
  return (
    error instanceof FolderInUseError ||
    error instanceof FolderUnusableError ||
    error instanceof NoLocksError
  )
}

let rejectNext = false
const rejecting: OpenStore = async (folder, options) => {
  const store = await smallStores(folder, options).catch((error: unknown) => {
    if (defect !== PLANTED) throw error
    throw Object.assign(new Error('Corruption: planted'), { code: 'LEVEL_CORRUPTION' })
  })
  return {
    get: (key) => store.get(key),
    getMany: (keys) => store.getMany(keys),
    keys: (range) => store.keys(range),
    entries: (range) => store.entries(range),
    compact: (start, end) => store.compact(start, end),
    close: () => store.close(),
    write: async (ops) => {
      if (rejectNext) {
        rejectNext = false
        arm('reopen')
        throw Object.assign(new Error('EIO: injected'), { code: 'EIO' })
      }
      await store.write(ops)
    },
  }
}

async function append(spool: Spool, count: number, from: number): Promise<void> {
  const to = lanes(spool, 'fresh', 'telemetry/fresh', ['telemetry'])
  for (let n = from; n < from + count; n++) {
    let ticket = 0
    // Ingest may be closed for a while: the device waits.
    while (ticket === 0) {
      ticket = spool.appender.append(to, message(`{"fresh":${n}}`))
      if (ticket === 0) await sleep(RETRY_MS)
    }
    await durable(spool, ticket)
    say({ acked: n })
  }
}

async function deliver(spool: Spool, batches: number): Promise<void> {
  const queue = queueOf(spool)
  for (let i = 0; i < batches; i++) {
    const batch = await patiently(() =>
      queue.pin ? queue.load(queue.pin, ENCODER) : pinNext(queue, BATCH_RECORDS),
    )
    if (!batch) return
    const ids = (await linesOf(batch)).map(({ id }) => id)
    await settleAll(queue, batch)
    say({ delivered: ids })
  }
}

arm('open')
const { spool } = await patiently(() =>
  openSpool(dataDir, { ...OPEN_OPTIONS, openStore: rejecting }),
)
await append(spool, 3, 1)
arm('read')
await deliver(spool, 2)
arm('write')
await append(spool, 3, 4)
if (phase === 'reopen') {
  rejectNext = true
  await append(spool, 3, 7)
}
arm('verify')
await patiently(() => spool.verifier.verifyAll())
await deliver(spool, 1)
arm('stop')
await spool.stop()
process.exit(0)
