/**
 * The operator on an open spool: with a drain in a running gateway, without one for a stopped
 * gateway. Translates what the stages refuse into answers with a reason (ports/operator.ts).
 */

import type { Devices } from './devices/devices.ts'
import { systemClock } from './drain/clock.ts'
import type { Drain } from './drain/drain.ts'
import { DrainNotes } from './drain/notes.ts'
import { formOfPin, ParkError, parkFirst } from './drain/stream/park.ts'
import {
  type DeadLetterOperator,
  type Operator,
  OperatorError,
  type RunningOperator,
  type StreamOperator,
} from './ports/operator.ts'
import type { Status } from './ports/status.ts'
import type { Reloader } from './reload/reloader.ts'
import { type DeadLetters, UnknownStreamError } from './spool/operations/dead-letters.ts'
import { OrphanError } from './spool/operations/orphans.ts'
import type { Spool } from './spool/spool.ts'

export function runningOperator(
  spool: Spool,
  drain: Drain,
  sinks: ReadonlyMap<string, unknown>,
  running: {
    readonly devices: Devices
    readonly status: () => Status
    readonly leave: () => boolean
    readonly reloader: Reloader
  },
): RunningOperator {
  return {
    ...spoolOperator(spool, drain),
    status: async () => running.status(),
    devices: deviceList(running.devices),
    forgetDevice: async (id) => {
      const outcome = await running.devices.forget(id)
      if (outcome === 'unknown')
        throw new OperatorError('ADMIN_NOT_FOUND', `no device is known as ${JSON.stringify(id)}`)
      if (outcome === 'connected')
        throw new OperatorError(
          'SLUICE_DEVICE_CONNECTED',
          `${JSON.stringify(id)} is connected: a device that is to be forgotten is switched off first`,
        )
    },
    leave: async () => {
      if (running.leave()) return
      throw new OperatorError('ADMIN_BAD_REQUEST', 'the gateway is starting: ask it again then')
    },
    config: () => running.reloader.report(),
    reload: (options) => running.reloader.reload(options),
    setLogLevel: async (level) => running.reloader.setLogLevel(level),
    newSpoolId: async () => {
      const spoolId = await startNewIdentity(spool)
      // A stream that was held for it need not wait for its next probe.
      for (const name of sinks.keys()) drain.retryNow(name)
      return spoolId
    },
    retrySink: async (name) => {
      const standing = drain.sinkStandings().find(({ sink }) => sink === name)
      if (standing === undefined) throw noSink(name, sinks.keys())
      const states = [standing.state, ...standing.streams.map(({ state }) => state)]
      drain.retryNow(name)
      return states.includes('held') ? 'held' : states.includes('retrying') ? 'retrying' : 'ok'
    },
  }
}

/** `drain`: null while the gateway does not run; its next start takes up what was asked here. */
export function spoolOperator(
  spool: Spool,
  drain: Drain | null,
): Omit<Operator, 'devices' | 'status'> {
  return {
    deadLetters: deadLetterOperator(spool.deadLetters),
    streams: streamOperator(spool, drain),
    newSpoolId: () => startNewIdentity(spool),
    backup: () => spool.backup(),
    verify: oneAtATime(async () => ({
      ...(await spool.verifier.verifyAll()),
      damage: spool.damage,
    })),
  }
}

export function deviceList(devices: Devices): Operator['devices'] {
  return (query) => refusable(async () => devices.list(query))
}

function streamOperator(spool: Spool, drain: Drain | null): StreamOperator {
  return {
    drainTo: (stream, sink) =>
      refusable(async () => {
        const queue = await spool.orphans.drainTo(stream, sink)
        drain?.join(queue, sink)
      }),
    park: (stream, seq) =>
      refusable(async () => {
        const queue = spool.queues.find((each) => each.stream === stream)
        if (!queue) throw noStream(stream, spool)
        const isDrained = (await drain?.park(stream, seq)) ?? false
        if (!isDrained) await parkFirst(queue, seq, formOfPin(queue))
      }),
    records: (stream, after) =>
      refusable(async () => {
        const page = await spool.records(stream, after)
        if (page === null) throw noStream(stream, spool)
        return page
      }),
  }
}

function deadLetterOperator(letters: DeadLetters): DeadLetterOperator {
  return {
    list: ({ stream, after, limit }) =>
      refusable(async () => {
        const found = await letters.list(stream, after, limit)
        return {
          deadLetters: found.map((letter) => ({
            id: letter.id,
            stream,
            origin: letter.origin,
            status: letter.status,
            reason: letter.reason,
            deadLetteredAtMs: Date.parse(letter.deadLetteredAt),
            bytes: letter.bytes,
            truncated: letter.truncated !== null,
            record: letter.line.trimEnd(),
          })),
          next: found.length < limit ? null : (found.at(-1)?.cursor ?? null),
        }
      }),
    requeue: ({ stream, ids }) =>
      refusable(async () => {
        const { requeued, skipped } = await letters.requeue(stream, ids)
        const why = 'only its first KiB was kept'
        return { changed: requeued, skipped: skipped.map((id) => ({ id, why })) }
      }),
    purge: ({ stream, ids }) =>
      refusable(async () => ({ changed: await letters.purge(stream, ids), skipped: [] })),
  }
}

/**
 * New records start under a fresh spool id, and what waits in streams whose sink has other records
 * under its numbers goes on under it, too.
 */
async function startNewIdentity(spool: Spool): Promise<string> {
  const notes = new DrainNotes(spool.notes, systemClock(), () => undefined)
  const isCloned = (sink: string, stream: string): boolean =>
    notes.hold(sink, stream)?.reason === 'clone'
  const cloned = spool.queues.filter(({ sink, stream }) => isCloned(sink, stream))
  const spoolId = await spool.newId('it was asked for')
  for (const { stream } of cloned) await spool.renumber(stream)
  return spoolId
}

/** Reading all blocks takes the disk's time, which commits want. */
function oneAtATime<T>(look: () => Promise<T>): () => Promise<T> {
  let isLooking = false
  return async () => {
    if (isLooking)
      throw new OperatorError('SLUICE_BUSY', 'the spool is being checked already: wait for its end')
    isLooking = true
    return look().finally(() => {
      isLooking = false
    })
  }
}

async function refusable<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (error instanceof OrphanError || error instanceof ParkError)
      throw new OperatorError(error.code, error.message)
    if (error instanceof UnknownStreamError)
      throw new OperatorError('ADMIN_NOT_FOUND', error.message)
    // Text that is no cursor.
    if (error instanceof TypeError) throw new OperatorError('ADMIN_BAD_REQUEST', error.message)
    throw error
  }
}

function noStream(name: string, { queues }: Spool): OperatorError {
  const names = queues.map(({ stream }) => stream).join(', ')
  return new OperatorError('ADMIN_NOT_FOUND', `there is no stream ${name}; streams are: ${names}`)
}

function noSink(name: string, sinks: Iterable<string>): OperatorError {
  const names = [...sinks].join(', ')
  return new OperatorError('ADMIN_NOT_FOUND', `there is no sink ${name}; sinks are: ${names}`)
}
