/** Configuration of the log. */
import { choice, leaf, section } from '../fields.ts'

export const logSlice = section('The log, on standard output.', {
  level: leaf(
    choice('The least level that is written.', ['trace', 'debug', 'info', 'warn', 'error']),
  ).prefault('info'),
  format: leaf(
    choice('auto: pretty on a terminal, else JSON.', ['auto', 'json', 'pretty']),
  ).prefault('auto'),
})
