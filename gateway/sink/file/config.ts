/** Configuration of a file sink: which folder, how files lie in it, and what must be true of it. */
import { choice, duration, path, size, text } from '../../config/fields.ts'
import { leaf, nullable } from '../../config/schema.ts'
import type { FileLayout } from '../batch-files/names.ts'

export interface FileSinkConfig {
  readonly type: 'file'
  readonly folder: string
  readonly layout: FileLayout
  readonly compression: 'gzip' | 'none'
  readonly marker: string | null
  readonly minFreeBytes: number
  readonly readableBy: 'owner' | 'group' | 'everyone'
  /** Of the delivery, which each type of sink has: the file system does not answer for so long. */
  readonly timeout: number
}

/** What this type adds to the keys that each sink has. */
export const fileKeys = {
  folder: leaf(path('Where the files go. It must be there: the gateway never makes it.')).prefault(
    './outbox',
  ),
  layout: leaf(
    choice(
      'flat: all files in the folder; streams: a folder a stream; days: below that, a folder a UTC day.',
      ['flat', 'streams', 'days'],
    ),
  ).prefault('flat'),
  compression: leaf(choice('Of the files.', ['gzip', 'none'])).prefault('gzip'),
  marker: nullable(
    text(
      'Name of a file that must be in the folder, so that a disk which is not mounted is noticed. null: none.',
      {
        wanted: 'the name of a file, without a slash',
        check: (input) =>
          /^[^/\0]{1,255}$/.test(input) && input !== '.' && input !== '..'
            ? null
            : 'write a name such as .sluice-folder',
      },
    ),
  ).prefault(null),
  minFreeBytes: leaf(
    size('Room that is left to others; a batch that would take of it waits.', { min: 0 }),
  ).prefault('16MiB'),
  readableBy: leaf(
    choice('Who may read the files besides the user of the gateway.', [
      'owner',
      'group',
      'everyone',
    ]),
  ).prefault('owner'),
  // Of the delivery, but each batch is a file here.
  linger: leaf(
    duration('How long a batch waits to be filled: a file each.', { min: 0, max: 3_600_000 }),
  ).prefault('1m'),
}
