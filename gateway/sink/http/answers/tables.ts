/**
 * The named tables of answers, a line each. `answers` in the configuration of a sink names one; what
 * it lists beside the name wins.
 */
import type { AnswerTable } from './answer-table.ts'
import { contract } from './contract.ts'
import { clickhouse } from './receivers/clickhouse.ts'
import { esBulk } from './receivers/es-bulk.ts'
import { influx } from './receivers/influx.ts'
import { otlp } from './receivers/otlp.ts'

/** The status alone decides. A page is still no ack: see read-answer.ts. */
const status: AnswerTable = { statuses: {}, reads: () => false, read: () => null }

export const ANSWER_TABLES = {
  contract,
  status,
  influx,
  // They answer like InfluxDB. What they promise is another matter.
  'victoria-metrics': influx,
  questdb: influx,
  'es-bulk': esBulk,
  clickhouse,
  otlp,
} as const satisfies Record<string, AnswerTable>

export type AnswerTableName = keyof typeof ANSWER_TABLES

/** How the receivers of a format answer, if `answers` names no table. Of the others: the contract. */
export const TABLES_OF_FORMATS: Readonly<Record<string, AnswerTableName>> = {
  influx: 'influx',
  'es-bulk': 'es-bulk',
  'json-each-row': 'clickhouse',
  'otlp-logs': 'otlp',
}
