/**
 * Where log lines go, and in which form. A reader of our standard output that stalls must not stall
 * the event loop, and with it every acknowledgement (I6); one that is gone, or a log file on a full
 * disk, must not end the process (line-writer.ts).
 */

import { LineWriter } from '../../shared/output/line-writer.ts'
import type { LogConfig } from '../config.ts'

/** The process does not wait longer at its end for the reader of its log. */
const FLUSH_MS = 1_000

export interface LogDestination {
  readonly stream: { write(line: string): void }
  /** Lines lost so far. */
  droppedLines(): number
  /** `listener` is told when lines were lost and the outlet takes lines again. */
  onLost?(listener: (lines: number, why: string) => void): void
  /** Resolves when what is buffered was written, or after a moment. Never rejects. */
  flush(): Promise<void>
}

interface Terminal {
  readonly isTty: boolean
  readonly hasColor: boolean
}

/** `auto` is pretty on a terminal and JSON elsewhere. `fd`: 1 is standard output. */
export async function openDestination(
  format: LogConfig['format'],
  fd: number,
  { isTty, hasColor }: Terminal,
): Promise<LogDestination> {
  const writer = new LineWriter(fd)
  const usePretty = format === 'pretty' || (format === 'auto' && isTty)
  return {
    stream: usePretty ? await prettyStream(writer, hasColor) : writer,
    droppedLines: () => writer.droppedLines,
    onLost: (listener) => {
      writer.onLost = listener
    },
    flush: () => writer.flush(FLUSH_MS),
  }
}

/** A box logs JSON to a file: it loads no printer. */
async function prettyStream(
  writer: LineWriter,
  colorize: boolean,
): Promise<LogDestination['stream']> {
  const { default: pretty } = await import('pino-pretty')
  const format = pretty.prettyFactory({
    colorize,
    translateTime: 'SYS:HH:MM:ss.l',
    ignore: 'pid,hostname,event',
    singleLine: true,
  })
  return { write: (line) => writer.write(format(withoutRepeats(line))) }
}

/** A person reads the sentence: members that it says already are not said twice. */
function withoutRepeats(line: string): string {
  const members = JSON.parse(line) as Record<string, unknown>
  const sentence = typeof members['msg'] === 'string' ? members['msg'] : ''
  const isSaid = (value: unknown): boolean =>
    value === null ||
    (typeof value !== 'object' && sentence.includes(`${value as string | number | boolean}`))
  const kept = Object.entries(members).filter(
    ([name, value]) => ['level', 'time', 'msg'].includes(name) || !isSaid(value),
  )
  return JSON.stringify(Object.fromEntries(kept))
}
