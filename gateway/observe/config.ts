/** Configuration of the log. */
import { choice } from '../config/fields.ts'
import { changes, leaf, type Schema, section } from '../config/schema.ts'

export interface LogConfig {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error'
  readonly format: 'auto' | 'json' | 'pretty'
}

export const logSection: Schema<LogConfig> = section('The log, on standard output.', {
  level: leaf(
    choice('Lowest level that is written.', ['trace', 'debug', 'info', 'warn', 'error']),
  ).prefault('info'),
  format: changes(
    'restart',
    leaf(choice('auto: pretty on a terminal, else JSON.', ['auto', 'json', 'pretty'])).prefault(
      'auto',
    ),
  ),
})
