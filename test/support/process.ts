/**
 * Real processes for tests: the built programs under dist/ and anything else, with their output
 * collected, lines awaited, ended hard or politely, and always reaped. Knows nothing of vitest: a
 * test file that starts processes calls `afterEach(reapProcesses)`; what is left when the test
 * process exits is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Written to stdin, which is then closed. Without it stdin is /dev/null. */
  readonly input?: string | Uint8Array
}

export interface ProcessExit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ProcessLine {
  readonly from: 'stdout' | 'stderr'
  readonly text: string
}

interface Waiter {
  readonly matches: (line: ProcessLine) => boolean
  readonly resolve: (line: ProcessLine) => void
  readonly reject: (error: Error) => void
}

const running = new Set<RunningProcess>()
process.on('exit', () => {
  for (const one of running) one.kill('SIGKILL')
})

/** Ends every process that is still running, hard, and waits until all are gone. */
export async function reapProcesses(): Promise<void> {
  await Promise.all([...running].map((one) => one.reap()))
}

/** Absolute path of a built program. @throws when it was not built */
export function builtProgram(name: 'gateway' | 'device-sim'): string {
  return builtFile(`${name}/main.js`)
}

/**
 * Absolute path of a file below dist/, for callers that are sources and for those that are built
 * themselves.
 */
export function builtFile(name: string): string {
  const dist = import.meta.url.endsWith('.ts') ? '../../dist/' : '../../'
  const path = fileURLToPath(new URL(`${dist}${name}`, import.meta.url))
  if (!existsSync(path)) throw new Error(`${path} is missing: npm run build`)
  return path
}

/** Starts `node dist/<program>/main.js <args>`. */
export function startProgram(
  name: 'gateway' | 'device-sim',
  args: readonly string[],
  options: ProcessOptions = {},
): RunningProcess {
  return startProcess(process.execPath, [builtProgram(name), ...args], options)
}

export function startProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions = {},
): RunningProcess {
  return new RunningProcess(command, args, options)
}

/**
 * Runs to its end. @throws when it did not end within `timeoutMs`; a code other than 0 is the
 * caller's to judge
 */
export async function runToEnd(
  command: string,
  args: readonly string[],
  options: ProcessOptions & { readonly timeoutMs?: number } = {},
): Promise<{ readonly exit: ProcessExit; readonly stdout: string; readonly stderr: string }> {
  const one = startProcess(command, args, options)
  const exit = await one.waitForExit(options.timeoutMs ?? 20_000)
  return { exit, stdout: one.stdout, stderr: one.stderr }
}

/** `runToEnd` of a built program. */
export async function runProgram(
  name: 'gateway' | 'device-sim',
  args: readonly string[],
  options: ProcessOptions & { readonly timeoutMs?: number } = {},
): Promise<{ readonly exit: ProcessExit; readonly stdout: string; readonly stderr: string }> {
  return runToEnd(process.execPath, [builtProgram(name), ...args], options)
}

export class RunningProcess {
  readonly pid: number | undefined
  readonly exited: Promise<ProcessExit>
  readonly #child: ChildProcess
  readonly #title: string
  readonly #lines: ProcessLine[] = []
  readonly #waiters = new Set<Waiter>()
  readonly #chunks: { readonly stdout: Buffer[]; readonly stderr: Buffer[] } = {
    stdout: [],
    stderr: [],
  }
  #exit: ProcessExit | null = null

  constructor(command: string, args: readonly string[], options: ProcessOptions) {
    this.#title = [command, ...args].join(' ')
    this.#child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    this.pid = this.#child.pid
    running.add(this)
    this.#collect('stdout')
    this.#collect('stderr')
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        if (this.#child.pid !== undefined) return
        this.#lines.push({ from: 'stderr', text: error.message })
        this.#ended({ code: null, signal: null }, resolve)
      })
      this.#child.once('close', (code, signal) => this.#ended({ code, signal }, resolve))
    })
    this.#child.stdin?.on('error', () => undefined)
    if (options.input !== undefined) this.#child.stdin?.end(options.input)
  }

  get stdout(): string {
    return Buffer.concat(this.#chunks.stdout).toString()
  }

  get stdoutBytes(): Buffer {
    return Buffer.concat(this.#chunks.stdout)
  }

  get stderr(): string {
    return Buffer.concat(this.#chunks.stderr).toString()
  }

  /** Every complete line so far, of both outputs, as they came. */
  get lines(): readonly ProcessLine[] {
    return this.#lines
  }

  /** null while it runs. */
  get exit(): ProcessExit | null {
    return this.#exit
  }

  /**
   * The first line, already there or still to come, that matches. @throws at the time-out or when
   * it exits before
   */
  async waitForLine(
    what: RegExp | string | ((line: ProcessLine) => boolean),
    timeoutMs = 10_000,
  ): Promise<ProcessLine> {
    const matches = lineTest(what)
    const known = this.#lines.find(matches)
    if (known !== undefined) return known
    if (this.#exit !== null) throw this.#failure('exited before the line came')
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        matches,
        resolve: (line) => {
          clearTimeout(timer)
          resolve(line)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        },
      }
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter)
        reject(this.#failure(`no line matched ${String(what)} within ${timeoutMs} ms`))
      }, timeoutMs)
      this.#waiters.add(waiter)
    })
  }

  /** @throws at the time-out; the process is then ended hard */
  async waitForExit(timeoutMs = 10_000): Promise<ProcessExit> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), timeoutMs)
    })
    const first = await Promise.race([this.exited, late])
    clearTimeout(timer)
    if (first !== 'late') return first
    await this.reap()
    throw this.#failure(`did not exit within ${timeoutMs} ms`)
  }

  /** Sends a signal. False if it is gone already. */
  kill(signal: NodeJS.Signals = 'SIGTERM'): boolean {
    return this.#exit === null && this.#child.kill(signal)
  }

  /** SIGKILL, and waits until it is gone. */
  async reap(): Promise<ProcessExit> {
    this.kill('SIGKILL')
    return this.exited
  }

  #collect(from: 'stdout' | 'stderr'): void {
    let rest = ''
    const stream = this.#child[from]
    stream?.on('data', (chunk: Buffer) => {
      this.#chunks[from].push(chunk)
      const parts = (rest + chunk.toString()).split('\n')
      rest = parts.pop() ?? ''
      for (const text of parts) this.#line({ from, text })
    })
    stream?.once('end', () => {
      if (rest !== '') this.#line({ from, text: rest })
    })
  }

  #line(line: ProcessLine): void {
    this.#lines.push(line)
    for (const waiter of this.#waiters) {
      if (!waiter.matches(line)) continue
      this.#waiters.delete(waiter)
      waiter.resolve(line)
    }
  }

  #ended(exit: ProcessExit, resolve: (exit: ProcessExit) => void): void {
    if (this.#exit !== null) return
    this.#exit = exit
    running.delete(this)
    for (const waiter of this.#waiters) waiter.reject(this.#failure('exited before the line came'))
    this.#waiters.clear()
    resolve(exit)
  }

  #failure(what: string): Error {
    const exit =
      this.#exit === null ? 'running' : `code ${this.#exit.code}, signal ${this.#exit.signal}`
    const tail = this.#lines.slice(-30).map((line) => `  ${line.from}: ${line.text}`)
    return new Error(`${this.#title}: ${what} (${exit})\n${tail.join('\n')}`)
  }
}

function lineTest(
  what: RegExp | string | ((line: ProcessLine) => boolean),
): (line: ProcessLine) => boolean {
  if (typeof what === 'function') return what
  if (typeof what === 'string') return (line) => line.text.includes(what)
  return (line) => what.test(line.text)
}
