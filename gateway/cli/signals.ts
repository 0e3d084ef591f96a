/**
 * What signals mean to a running gateway: stop, reload, or nothing. One that means
 * nothing must do nothing: without a listener SIGUSR1 opens Node's debugger port, and the others
 * end the process.
 */

export interface SignalListener {
  /** SIGTERM, SIGINT, and SIGPWR (the power is about to fail). */
  stop(signal: string): void
  /** SIGHUP, of a service manager or of a terminal that was closed. */
  reload(): void
  unused(signal: string): void
}

const STOP = ['SIGTERM', 'SIGINT', 'SIGPWR'] as const
const RELOAD = ['SIGHUP'] as const
/**
 * SIGPIPE and SIGXFSZ Node itself ignores. SIGQUIT still ends the process at once: the way out that
 * always works.
 */
const UNUSED = ['SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGVTALRM', 'SIGIO'] as const

/** Until the returned function is called. */
export function listenToSignals(listener: SignalListener): () => void {
  const handlers: Array<readonly [NodeJS.Signals, (signal: string) => void]> = [
    ...STOP.map((signal) => [signal, (name: string) => listener.stop(name)] as const),
    ...RELOAD.map((signal) => [signal, () => listener.reload()] as const),
    ...UNUSED.map((signal) => [signal, (name: string) => listener.unused(name)] as const),
  ]
  for (const [signal, handler] of handlers) process.on(signal, handler)
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler)
  }
}
