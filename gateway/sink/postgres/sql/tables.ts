/** The tables of a sink as SQL, for `sluice sinks ddl`. The gateway makes none itself. Pure. */
import type { PostgresSinkConfig } from '../config.ts'
import { quoted, quotedTable } from './identifiers.ts'

type Tables = Pick<PostgresSinkConfig, 'table' | 'queueTable' | 'gapTable' | 'columns'>

/** Of a column in `ddl`, by what fills it. */
const TYPES: Readonly<Record<string, string>> = {
  '${payload}': 'jsonb not null',
  '${record}': 'jsonb not null',
  '${payloadBase64}': 'bytea',
  '${seq}': 'bigint',
  '${qos}': 'smallint',
  '${receivedAt}': 'timestamptz not null',
  '${receivedAtMs}': 'bigint',
  '${time}': 'timestamptz not null',
  '${timeIsArrival}': 'boolean',
}

/** The tables, for `psql`. The gateway makes none. */
export function tablesSql(config: Tables, user: string): string {
  const { table, queueTable, gapTable, columns } = config
  const own = Object.entries(columns).map(
    ([name, source]) => `  ${quoted(name)} ${TYPES[source] ?? usualType(source)}`,
  )
  const timed = Object.entries(columns).find(([, source]) =>
    TYPES[source]?.startsWith('timestamptz'),
  )
  const parts = [
    `create table if not exists ${quotedTable(table)} (\n${own.join(',\n')}\n);`,
    ...(timed === undefined
      ? []
      : [
          `-- With TimescaleDB, before the first record:\n-- select create_hypertable('${quotedTable(table).replaceAll("'", "''")}', '${timed[0].replaceAll("'", "''")}');`,
        ]),
    `-- One number for each queue: what is stored, exactly once.
create table if not exists ${quotedTable(queueTable)} (
  gateway text not null,
  spool text not null,
  stream text not null,
  highest bigint not null,
  digest text,
  refused bigint[],
  primary key (gateway, spool, stream)
);`,
    ...(gapTable === null
      ? []
      : [
          `-- Records that will never come, and why.
create table if not exists ${quotedTable(gapTable)} (
  gateway text not null,
  spool text not null,
  stream text not null,
  first_seq bigint not null,
  last_seq bigint not null,
  reason text not null,
  told_at timestamptz not null default now(),
  primary key (gateway, spool, stream, first_seq, last_seq, reason)
);`,
        ]),
    `grant insert on ${quotedTable(table)} to ${quoted(user)};
grant select, insert, update on ${quotedTable(queueTable)} to ${quoted(user)};`,
    ...(gapTable === null ? [] : [`grant insert on ${quotedTable(gapTable)} to ${quoted(user)};`]),
  ]
  return `${parts.join('\n')}\n`
}

/** A pointer may lead to anything: a number is what most readings are. */
function usualType(source: string): string {
  return source.startsWith('/') ? 'double precision' : 'text'
}
