/**
 * The processes that a benchmark measures and drives: started on loopback, always ended, read
 * through /proc.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { builtFile } from '../support/process.ts'
import {
  canCompilePublisher,
  compiledArguments,
  compiledPublisher,
  writeFrames,
} from './compiled-publisher.ts'
import {
  MEASURE_BEGAN,
  MEASURE_ENDED,
  type PublisherOptions,
  type PublisherResult,
} from './publisher.ts'

const running = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
/** Node ends on a signal without the event above, and what was started would live on. */
export function exitOnSignals(): void {
  process.once('SIGINT', () => process.exit(130))
  process.once('SIGTERM', () => process.exit(143))
}

export interface Running {
  readonly pid: number
  readonly output: () => string
  stop(signal?: NodeJS.Signals): Promise<void>
}

export function start(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Running {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-20_000)
    })
  }
  const ended = new Promise<void>((resolve) => {
    child.on('exit', () => {
      running.delete(child)
      resolve()
    })
    child.on('error', () => resolve())
  })
  return {
    pid: child.pid ?? 0,
    output: () => output,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal)
      const timer = setTimeout(() => child.kill('SIGKILL'), 15_000)
      await ended
      clearTimeout(timer)
    },
  }
}

/** A Node, and what its processes find in their environment. */
export interface NodeProgram {
  readonly path: string
  readonly env: Readonly<Record<string, string>>
}

export const OWN_NODE: NodeProgram = { path: process.execPath, env: {} }
const THREAD_POOL = { UV_THREADPOOL_SIZE: '8' }

export function startNode(script: string, args: readonly string[], node = OWN_NODE): Running {
  return start(node.path, [builtFile(script), ...args], { ...THREAD_POOL, ...node.env })
}

/** Called when the publisher's measured time begins and ends. */
export interface MeasureHooks {
  readonly began?: () => void
  readonly ended?: () => void
}

/**
 * Runs the publisher to its end: the compiled one, unless there is no compiler or the other is
 * asked for.
 */
export async function runPublisher(
  options: PublisherOptions,
  hooks: MeasureHooks = {},
  compiled: boolean = canCompilePublisher(),
): Promise<PublisherResult> {
  if (!compiled) {
    const script = builtFile('test/bench/publisher.js')
    return runToEnd(process.execPath, [script, JSON.stringify(options)], hooks)
  }
  const frames = writeFrames(options)
  try {
    const result = await runToEnd(
      compiledPublisher(),
      compiledArguments(options, frames.path),
      hooks,
    )
    return {
      ...result,
      p50Ms: result.p50Ms ?? Number.NaN,
      p99Ms: result.p99Ms ?? Number.NaN,
      payloadBytes: frames.payloadBytes,
      copies: options.subscribers === undefined ? null : result.copies,
    }
  } finally {
    rmSync(frames.path)
  }
}

async function runToEnd(
  command: string,
  args: readonly string[],
  hooks: MeasureHooks,
): Promise<PublisherResult> {
  const child = spawn(command, args)
  running.add(child)
  let result: PublisherResult | null = null
  let err = ''
  createInterface(child.stdout).on('line', (line) => {
    if (line === MEASURE_BEGAN) hooks.began?.()
    else if (line === MEASURE_ENDED) hooks.ended?.()
    else result = JSON.parse(line) as PublisherResult
  })
  child.stderr.on('data', (chunk: Buffer) => {
    err += chunk.toString()
  })
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  running.delete(child)
  if (code !== 0 || result === null) throw new Error(`publisher ended with ${code}: ${err}`)
  return result
}

/** Runs a script of the build to its end and gives what it wrote; `onStart` learns its pid. */
export async function runNode(
  script: string,
  args: readonly string[],
  onStart: (pid: number) => void,
): Promise<string> {
  const child = spawn(process.execPath, [builtFile(script), ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  running.add(child)
  onStart(child.pid ?? 0)
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString()
  })
  await new Promise((resolve) => child.on('close', resolve))
  running.delete(child)
  return out
}

/** Resolves when something accepts on the port; rejects after `timeoutMs`. */
export async function listening(port: number, of: Running, timeoutMs = 20_000): Promise<void> {
  const endsMs = performance.now() + timeoutMs
  for (;;) {
    const ok = await new Promise<boolean>((resolve) => {
      const socket = connect({ port, host: '127.0.0.1' })
      socket.on('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
    if (ok) return
    if (performance.now() > endsMs)
      throw new Error(`nothing listens on port ${port}:\n${of.output()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function procNumber(path: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(path, 'utf8'))
  return Number(match?.[1] ?? Number.NaN)
}

/** What the process caused to be written to storage, bytes. */
export function writeBytes(pid: number): number {
  return procNumber(`/proc/${pid}/io`, 'write_bytes')
}

export interface Memory {
  readonly rssAnon: number
  readonly rss: number
}

export function memoryMb(pid: number): Memory {
  const path = `/proc/${pid}/status`
  return { rssAnon: procNumber(path, 'RssAnon') / 1024, rss: procNumber(path, 'VmRSS') / 1024 }
}

/** Of a clock tick in /proc; USER_HZ is 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** Processor time of all threads, user and system. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The second field is the command in brackets and may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}
