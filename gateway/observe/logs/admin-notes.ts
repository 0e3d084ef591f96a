/** What the admin server's events say in the log: notes, damped by their key. */
import type { AdminEvent } from '../../admin/events.ts'
import type { LogLevel } from './event-log.ts'

interface Note {
  readonly level: LogLevel
  readonly key: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

export function adminNote(event: AdminEvent): Note {
  switch (event.type) {
    case 'admin.changed': {
      const { path, remote } = event
      return {
        level: 'info',
        key: `done|${path}`,
        message: `operator: ${path}`,
        fields: { remote },
      }
    }
    case 'admin.no-socket': {
      const message = `no socket for commands (${event.message}): they ask ${event.url}`
      return { level: 'info', key: 'admin-socket', message, fields: {} }
    }
    default: {
      const { type, message, ...fields } = event
      const isRefused = type === 'admin.refused'
      const outcome = isRefused ? 'refused' : 'failed'
      return {
        level: isRefused ? 'warn' : 'error',
        key: `${outcome}|${event.code}`,
        message: `admin request ${outcome}: ${message}`,
        fields,
      }
    }
  }
}
