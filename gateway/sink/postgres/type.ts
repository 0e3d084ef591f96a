/** Batches as rows: see README.md. */
import type { SinkType } from '../sink-type.ts'
import { type PostgresSinkConfig, postgresFiles, postgresKeys } from './config.ts'
import { checkPostgresSink } from './config-checks.ts'
import { POSTGRES_PROMISE } from './encode.ts'
import { previewRows } from './preview.ts'
import { probeDatabase } from './probe.ts'
import { createPostgresSink } from './sink.ts'
import { tablesSql } from './sql/tables.ts'
import { addressOf, shownAddress } from './wire/address.ts'
import { CLIENT } from './wire/client.ts'

export const postgresType = {
  packages: [CLIENT],
  keys: postgresKeys,
  check: checkPostgresSink,
  files: postgresFiles,
  url: (config) => shownAddress(addressOf(config)),
  promise: () => POSTGRES_PROMISE,
  preview: previewRows,
  ddl: (config) => tablesSql(config, addressOf(config).user),
  create: createPostgresSink,
  probe: probeDatabase,
} satisfies SinkType<PostgresSinkConfig>
