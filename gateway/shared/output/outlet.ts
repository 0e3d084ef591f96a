/**
 * A descriptor to write to without ever waiting for who reads it. A blocking write to a pipe whose
 * reader stops would keep a thread of libuv's pool for as long, and the end of the process with it:
 * Node joins the pool's threads. So a pipe or a terminal is opened anew without blocking, for this
 * process alone (the description that other processes share is not touched), a socket is written to
 * by the event loop, and only what cannot stall, a file, by the pool.
 */
import { constants, fstatSync, openSync, write } from 'node:fs'
import { Socket } from 'node:net'

/** A reader that takes nothing is tried again after this time. */
const POLL_MS = 50

export interface Outlet {
  /**
   * For a last write when the event loop is over; it does not block, unless the outlet is a file.
   */
  readonly fd: number
  /**
   * Calls back once: null when everything was taken, else the error and how many bytes were taken
   * before it.
   */
  write(bytes: Buffer, done: (error: NodeJS.ErrnoException | null, taken: number) => void): void
}

export function openOutlet(fd: number): Outlet {
  const kind = kindOf(fd)
  if (kind === 'file') return new DescriptorOutlet(fd)
  if (kind === 'socket') return new SocketOutlet(fd)
  const own = reopened(fd)
  return own === null ? new SocketOutlet(fd) : new DescriptorOutlet(own)
}

function kindOf(fd: number): 'file' | 'socket' | 'stalls' {
  try {
    // Not the numbers that `realpathSync` reads again: behind a pipe's or a socket's in there Node
    // follows no links to modules any more (nodejs/node issue 51142), as pnpm lays them out.
    const stats = fstatSync(fd, { bigint: true })
    if (stats.isSocket()) return 'socket'
    return stats.isFIFO() || stats.isCharacterDevice() ? 'stalls' : 'file'
  } catch {
    return 'file'
  }
}

/** null: this user may not open what it was given. */
function reopened(fd: number): number | null {
  const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants
  try {
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY)
  } catch (error) {
    // A pipe without a reader, or a terminal that is gone: a write fails, it does not wait.
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENXIO' || code === 'EIO' ? fd : null
  }
}

class DescriptorOutlet implements Outlet {
  readonly fd: number

  constructor(fd: number) {
    this.fd = fd
  }

  write(bytes: Buffer, done: (error: NodeJS.ErrnoException | null, taken: number) => void): void {
    const from = (offset: number): void =>
      write(this.fd, bytes, offset, bytes.length - offset, null, (error, written) => {
        if (error?.code === 'EAGAIN') setTimeout(() => from(offset), POLL_MS).unref()
        else if (error !== null) done(error, offset)
        else if (offset + written < bytes.length) from(offset + written)
        else done(null, bytes.length)
      })
    from(0)
  }
}

/**
 * How much of a failed write the peer had taken is not known: taken for none. libuv closes no
 * standard descriptor, so its number is nobody else's afterwards.
 */
class SocketOutlet implements Outlet {
  readonly fd: number
  readonly #socket: Socket | null

  constructor(fd: number) {
    this.fd = fd
    this.#socket = socketOf(fd)
    this.#socket?.on('error', () => undefined)
    this.#socket?.unref()
  }

  write(bytes: Buffer, done: (error: NodeJS.ErrnoException | null, taken: number) => void): void {
    if (this.#socket === null) {
      write(this.fd, bytes, (error, written) => done(error, error === null ? written : 0))
      return
    }
    this.#socket.write(bytes, (error) => done(error ?? null, error ? 0 : bytes.length))
  }
}

function socketOf(fd: number): Socket | null {
  try {
    return new Socket({ fd, readable: false, writable: true })
  } catch {
    return null
  }
}
