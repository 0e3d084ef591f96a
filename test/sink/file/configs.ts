/** A file sink's configuration, by its own defaults. */
import { section } from '../../../gateway/config/schema.ts'
import { deliveryKeys } from '../../../gateway/drain/config.ts'
import { type FileSinkConfig, fileKeys } from '../../../gateway/sink/file/config.ts'

export function fileSinkConfig(changes: Partial<FileSinkConfig>): FileSinkConfig {
  const keys = section('A file sink.', { ...deliveryKeys, ...fileKeys })
  return { ...keys.parse({ folder: '.' }), type: 'file', ...changes }
}
