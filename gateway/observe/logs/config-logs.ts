/** What the configuration's events say in the log. */
import type { ConfigEvent } from '../../config/events.ts'
import { counted } from '../../shared/text/words.ts'
import type { EventLogs } from './event-log.ts'

/** Keys that a line names; more are counted. */
const NAMED_KEYS = 8

export const CONFIG_LOGS: EventLogs<ConfigEvent> = {
  'config.applied': {
    level: 'info',
    message: ({ keys }) => `the configuration was reloaded: ${named(keys)}`,
  },
  'config.refused': {
    level: 'warn',
    message: ({ why }) => `a reload was refused, nothing changed: ${why.join('; ')}`,
    dampBy: ({ why }) => why.join(),
  },
  'config.went-back': {
    level: 'error',
    message: ({ why }) => `the former configuration is in force again: ${why}`,
  },
  'config.stuck': {
    level: 'error',
    message: ({ why, detail }) =>
      `the former configuration could not come back: ${detail} (${why})`,
  },
  'config.log-level': {
    level: 'info',
    message: ({ level }) => `the log's level is ${level}, until a reload or restart`,
  },
}

function named(keys: readonly string[]): string {
  const rest = keys.length - NAMED_KEYS
  const first = keys.slice(0, NAMED_KEYS).join(', ')
  return rest > 0 ? `${first} and ${counted(rest, 'more key')}` : first
}
