/**
 * Every place of the product that a preload of tests wraps: one table, so that whoever renames a
 * method sees here, as an error of the compiler, which fault hangs on it. The product knows nothing
 * of it.
 */
import fsp, { type FileHandle } from 'node:fs/promises'
import { Socket } from 'node:net'
import { Level } from 'level'
import { Broker } from '../../../gateway/broker/broker.ts'
import { sessionLog } from '../../../gateway/broker/sessions/session-log.ts'
import { HttpClient } from '../../../gateway/sink/http/client/client.ts'
import { SINK_TYPES } from '../../../gateway/sink/registry.ts'
import { SpoolAppender } from '../../../gateway/spool/appender.ts'
import { Committer } from '../../../gateway/spool/commit/committer.ts'
import { SeqLease } from '../../../gateway/spool/disk/lease.ts'
import { SpoolQueue } from '../../../gateway/spool/queue/queue.ts'
import { SpoolStream } from '../../../gateway/spool/stream/stream.ts'

interface FaultPoint {
  readonly target: object
  readonly method: string
}

function at<T extends object>(target: T, method: keyof T & string): FaultPoint {
  return { target, method }
}

const handle = await fsp.open('/dev/null')
const handles = Object.getPrototypeOf(handle) as FileHandle
await handle.close()

export const FAULT_POINTS = {
  'file.rename': at(fsp, 'rename'),
  'file.link': at(fsp, 'link'),
  'file.unlink': at(fsp, 'unlink'),
  'file.rm': at(fsp, 'rm'),
  'file.mkdir': at(fsp, 'mkdir'),
  'file.copy': at(fsp, 'copyFile'),
  'file.write-whole': at(fsp, 'writeFile'),
  'file.truncate': at(fsp, 'truncate'),
  'file.open': at(fsp, 'open'),
  'handle.write': at(handles, 'write'),
  'handle.sync': at(handles, 'sync'),
  'handle.datasync': at(handles, 'datasync'),
  'handle.truncate': at(handles, 'truncate'),
  'handle.write-whole': at(handles, 'writeFile'),
  // LevelDB's binding, below what its types show.
  'store.open': { target: Level.prototype, method: '_open' },
  'store.close': { target: Level.prototype, method: '_close' },
  'store.write': at(Level.prototype, 'batch'),
  'lease.write': at(SeqLease.prototype, 'write'),
  'commit.listen': at(Committer.prototype, 'onDurable'),
  'appender.append': at(SpoolAppender.prototype, 'append'),
  'stream.drop': at(SpoolStream.prototype, 'drop'),
  'stream.close-block': at(SpoolStream.prototype, 'close'),
  'queue.load': at(SpoolQueue.prototype, 'load'),
  'queue.settle': at(SpoolQueue.prototype, 'settle'),
  'sink.send': at(HttpClient.prototype, 'send'),
  'session.add-id': at(sessionLog, 'addId'),
  'session.remove-id': at(sessionLog, 'removeId'),
  'session.expiry': at(sessionLog, 'expiry'),
  // Node's own ways out of a connection and into it, TLS included.
  'socket.connect': at(Socket.prototype, 'connect'),
  'socket.write': at(Socket.prototype, '_write'),
  'socket.write-many': { target: Socket.prototype, method: '_writev' },
  'socket.read': at(Socket.prototype, 'push'),
  'broker.start': at(Broker, 'start'),
  'broker.stop': at(Broker.prototype, 'stop'),
} satisfies Readonly<Record<string, FaultPoint>>

export type FaultPointName = keyof typeof FAULT_POINTS

/** Those of a kind: what changes files, for instance. Reading a file gives nothing to die for. */
export function faultPoints(kind: 'file' | 'handle'): FaultPointName[] {
  const names = Object.keys(FAULT_POINTS) as FaultPointName[]
  return names.filter((name) => name.startsWith(`${kind}.`))
}

type Method = (this: unknown, ...args: unknown[]) => unknown

/**
 * Replaces the method by one that decides what happens around it. `instead` gets the original with
 * its arguments bound, `this`, and the arguments.
 *
 * @throws if there is no such method: a fault that hangs on nothing would never fire
 */
export function around(
  name: FaultPointName,
  instead: (call: () => unknown, self: unknown, args: readonly unknown[]) => unknown,
): void {
  const { target, method } = FAULT_POINTS[name]
  const methods = target as Record<string, Method | undefined>
  const original = methods[method]
  if (typeof original !== 'function') throw new Error(`${name}: nothing is called ${method} there`)
  methods[method] = function (this: unknown, ...args: unknown[]): unknown {
    return instead(() => original.apply(this, args), this, args)
  }
}

/** Around the making of each sink, whatever its type. */
export function aroundEachSinkType(instead: (create: () => unknown) => unknown): void {
  for (const type of Object.values<Record<string, unknown>>(SINK_TYPES)) {
    const create = type['create'] as Method
    type['create'] = function (this: unknown, ...args: unknown[]): unknown {
      return instead(() => create.apply(this, args))
    }
  }
}
