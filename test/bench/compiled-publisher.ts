/**
 * publisher.c and its parts, built where a C compiler is at hand, and the file of frames that it takes: made by
 * the same code and the same seed as those of publisher.ts, so that both send the same bytes.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sourcePath } from '../support/source-path.ts'
import { findTool } from '../support/tools.ts'
import { framesPerDevice, type PublisherOptions } from './publisher.ts'
import { connectFrame, deviceFrames } from './readings.ts'
import { mean } from './statistics.ts'

const SOURCES = ['publisher.c', 'subscribers.c', 'connections.c']

let folder: string | null = null
let binary: string | null = null
let files = 0

export function canCompilePublisher(): boolean {
  return findTool('gcc') !== null
}

/** Path of the program, compiled once a process. @throws without gcc */
export function compiledPublisher(): string {
  if (binary !== null) return binary
  const path = join(ownFolder(), 'publisher')
  const sources = SOURCES.map((name) => sourcePath(`test/bench/${name}`))
  execFileSync('gcc', ['-std=gnu11', '-O2', '-pthread', '-o', path, ...sources])
  binary = path
  return path
}

function ownFolder(): string {
  if (folder === null) {
    const made = mkdtempSync(join(tmpdir(), 'sluice-publisher-'))
    process.on('exit', () => rmSync(made, { recursive: true, force: true }))
    folder = made
  }
  return folder
}

/** As publisher.c wants them, in its order. */
export function compiledArguments(options: PublisherOptions, framesPath: string): string[] {
  const { port, qos, window, warmupMs, measureMs, messagesPerSecond, seed, subscribers } = options
  const numbers = [
    port,
    qos,
    window,
    warmupMs,
    measureMs,
    messagesPerSecond ?? -1,
    seed,
    subscribers?.count ?? 0,
    subscribers?.qos ?? 0,
  ]
  return [framesPath, ...numbers.map(String)]
}

/**
 * A file of its own for each run, which the caller removes. `payloadBytes`: the mean over all
 * devices.
 */
export function writeFrames(options: PublisherOptions): { path: string; payloadBytes: number } {
  const path = join(ownFolder(), `frames-${++files}`)
  const frames = framesPerDevice(options)
  const file = openSync(path, 'w')
  const means: number[] = []
  try {
    writeSync(file, u32(options.devices))
    for (let i = 0; i < options.devices; i++) {
      const device = deviceFrames(options.firstDevice + i, { ...options, frames })
      const connect = connectFrame(device.clientId, true, options.protocol)
      const parts = [u32(connect.length), connect, u32(frames)]
      device.frames.forEach((frame, n) =>
        parts.push(u32(frame.length), u32(device.idAt[n] ?? 0), frame),
      )
      writeSync(file, Buffer.concat(parts))
      means.push(device.payloadBytes)
    }
  } finally {
    closeSync(file)
  }
  return { path, payloadBytes: mean(means) }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
