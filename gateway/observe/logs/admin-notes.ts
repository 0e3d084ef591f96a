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
      const { path, remote, user } = event
      const fields = { remote, ...(user === null ? {} : { user }) }
      return { level: 'info', key: `done|${path}`, message: `operator: ${path}`, fields }
    }
    case 'admin.login': {
      const { user, role, remote } = event
      const message = `${user ?? 'the token'} logged in as ${role}`
      return { level: 'info', key: `login|${user}`, message, fields: { remote } }
    }
    case 'admin.users-loaded': {
      const { file, users } = event
      const message = `${users} may log in to the console, by ${file}`
      return { level: 'info', key: 'admin-users', message, fields: {} }
    }
    case 'admin.users-refused': {
      const message = `the users of the console cannot be read, those before stay: ${event.message}`
      return { level: 'error', key: 'admin-users', message, fields: { file: event.file } }
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
