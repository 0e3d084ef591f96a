/**
 * What a service manager is told that listens on NOTIFY_SOCKET (sd_notify): that the gateway is
 * ready, that a reload it asked for begins and ends, that it stops, and, if it asks for a watchdog,
 * that the gateway is alive. The beat is a timer of the event loop, and is left out while the
 * gateway's own word is that only a restart helps: a loop that hangs and a commit that does not end
 * both stop it.
 *
 * The socket takes datagrams of the Unix family, which Node does not have. A shell that is started
 * once hands each line to `systemd-notify`: 6 ms of processor a beat, none of it the gateway's.
 * Does not decide what alive means: `observe/health.ts` does.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Health } from '../ports/status.ts'

/**
 * Ends when the gateway does: its input is the gateway's pipe. A line is one message, of one or two
 * parts.
 */
const RELAY = `while IFS='\t' read -r state more; do systemd-notify "$state" \${more:+"$more"} || exit; done`

/** Of the manager's patience. Two beats may be lost. */
const BEATS_PER_PATIENCE = 3

interface ServiceManager {
  /** Devices are served. `isAlive` is asked before each beat. */
  ready(status: string, isAlive: () => Health): void
  /** A reload begins; it ends with what is returned. */
  reloading(): () => void
  stopping(): void
}

/** `say` takes one line, for what the manager cannot be told. */
export function serviceManager(
  env: NodeJS.ProcessEnv,
  say: (text: string) => void,
): ServiceManager {
  if ((env['NOTIFY_SOCKET'] ?? '') === '')
    return { ready: () => undefined, reloading: () => () => undefined, stopping: () => undefined }
  const relay = new Relay(env, say)
  const patienceMs = watchdogMs(env)
  let beat: NodeJS.Timeout | undefined
  return {
    ready: (status, isAlive) => {
      relay.tell('READY=1')
      relay.tell(`STATUS=${status}`)
      if (patienceMs === null) return
      let wasAlive = true
      beat = setInterval(() => {
        const { ok, reasons } = isAlive()
        if (ok) relay.tell('WATCHDOG=1')
        else if (wasAlive) relay.tell(`STATUS=Not alive: ${reasons.join('; ')}`)
        if (ok && !wasAlive) relay.tell(`STATUS=${status}`)
        wasAlive = ok
      }, patienceMs / BEATS_PER_PATIENCE)
      beat.unref()
    },
    reloading: () => {
      const micros = process.hrtime.bigint() / 1_000n
      relay.tell('RELOADING=1', `MONOTONIC_USEC=${micros}`)
      return () => relay.tell('READY=1')
    },
    stopping: () => {
      clearInterval(beat)
      relay.tell('STOPPING=1')
    },
  }
}

/** How long the manager waits for a beat of this process; null: it asks for none. */
function watchdogMs(env: NodeJS.ProcessEnv): number | null {
  const pid = env['WATCHDOG_PID']
  if (pid !== undefined && pid !== String(process.pid)) return null
  const micros = Number(env['WATCHDOG_USEC'])
  return Number.isFinite(micros) && micros >= 1_000 ? micros / 1_000 : null
}

/** The shell. One that ended is started again with the next line; why it ended is said once. */
class Relay {
  readonly #env: NodeJS.ProcessEnv
  readonly #say: (text: string) => void
  #shell: ChildProcess | null = null
  #hasSaid = false

  constructor(env: NodeJS.ProcessEnv, say: (text: string) => void) {
    this.#env = env
    this.#say = say
  }

  /** One message of one or two parts. One that finds the shell gone is lost. */
  tell(...parts: readonly [string, string?]): void {
    this.#shell ??= this.#start()
    this.#shell.stdin?.write(`${parts.join('\t')}\n`)
  }

  #start(): ChildProcess {
    const shell = spawn('/bin/sh', ['-c', RELAY], {
      env: this.#env,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    // It ends with the gateway, not the other way around.
    shell.unref()
    shell.stdin?.on('error', () => undefined)
    const ended = (why: string): void => {
      if (this.#shell === shell) this.#shell = null
      if (this.#hasSaid) return
      this.#hasSaid = true
      this.#say(
        `the service manager could not be told of the gateway (systemd-notify: ${why}); it goes on, and is told again with the next beat. If that stays so, set Type=exec and WatchdogSec=0 in the unit`,
      )
    }
    shell.once('error', (error) => ended(error.message))
    shell.once('exit', (code, signal) => ended(signal ?? `exit code ${code}`))
    return shell
  }
}
