/**
 * Progress of something that runs: one live line on a terminal, elsewhere a line every few seconds
 * that tells news. On stderr.
 */

const LIVE_MS = 200
const PLAIN_MS = 3000
const LEAST_COLUMNS = 20
/** Of a terminal that does not say. */
const DEFAULT_COLUMNS = 80

export interface Progress {
  /** A line that stays, above the live one. */
  note(text: string): void
  /** Shows the last state and goes to the next line. */
  stop(): void
}

/** @param line what to show now; called at each turn */
export function showProgress(
  line: () => string,
  output: NodeJS.WriteStream = process.stderr,
): Progress {
  const live = output.isTTY
  let last = ''
  const show = (): void => {
    const text = line()
    if (live)
      output.write(
        `\r\x1b[2K${text.slice(0, Math.max(LEAST_COLUMNS, (output.columns || DEFAULT_COLUMNS) - 1))}`,
      )
    else if (text !== last) output.write(`${text}\n`)
    last = text
  }
  const timer = setInterval(show, live ? LIVE_MS : PLAIN_MS)
  return {
    note(text) {
      output.write(live ? `\r\x1b[2K${text}\n` : `${text}\n`)
      if (live) show()
    },
    stop() {
      clearInterval(timer)
      show()
      if (live) output.write('\n')
    },
  }
}
