/**
 * What a standard descriptor is connected to. Does not touch `process.stdout`: reading that opens
 * the terminal.
 */
import { closeSync, fstatSync } from 'node:fs'
import { isatty } from 'node:tty'

/** Colors are for a terminal that knows them and a person who wants them (no-color.org). */
export function hasColor(
  isTty: boolean,
  env: Readonly<Record<string, string | undefined>>,
): boolean {
  return isTty && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb'
}

/**
 * Node restores the terminal when it ends, and aborts if the terminal is gone (signal 6). A
 * descriptor that is closed it leaves alone. For the very end of the process.
 */
export function leaveGoneTerminals(): void {
  for (const fd of [0, 1, 2]) {
    try {
      if (fstatSync(fd).isCharacterDevice() && !isatty(fd)) closeSync(fd)
    } catch {
      // Closed already.
    }
  }
}
