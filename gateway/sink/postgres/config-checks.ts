/** What one key's schema cannot see of a PostgreSQL sink. Pure. */
import { type Report, showValue } from '../../config/problems.ts'
import type { Path } from '../../config/walk.ts'
import type { PostgresSinkConfig } from './config.ts'
import { columnFix } from './sql/identifiers.ts'
import { addressOf, isThisBox } from './wire/address.ts'

/** What the keys of one sink say of each other. */
export function checkPostgresSink(path: Path, sink: PostgresSinkConfig, report: Report): void {
  checkColumns(path, sink, report)
  checkTls(path, sink, report)
  const tables = [sink.table, sink.queueTable, sink.gapTable].filter((name) => name !== null)
  if (new Set(tables).size < tables.length)
    report.complain([...path, 'table'], {
      got: 'one table for two things',
      wanted: 'table, queueTable and gapTable of their own',
      fix: 'name another table',
    })
}

function checkColumns(path: Path, { columns, time }: PostgresSinkConfig, report: Report): void {
  const entries = Object.entries(columns)
  if (entries.length === 0)
    report.complain([...path, 'columns'], {
      got: 'no column',
      wanted: 'at least one column, and what fills it',
      fix: 'write payload: "${payload}", or leave columns out',
    })
  for (const [name] of entries) {
    const fix = columnFix(name)
    if (fix !== null)
      report.complain([...path, 'columns', name], {
        got: showValue(name),
        wanted: 'the name of a column, at most 63 bytes',
        fix,
      })
  }
  if (time.at !== null && !entries.some(([, source]) => source.includes('${time}')))
    report.warn([...path, 'time'], 'no column takes it: write ${time} for one of columns')
}

function checkTls(path: Path, sink: PostgresSinkConfig, report: Report): void {
  const { hosts, sslMode } = addressOf(sink)
  const { cert = null, key = null } = sink.tls ?? {}
  if ((cert === null) !== (key === null)) {
    const missing = cert === null ? 'cert' : 'key'
    report.complain([...path, 'tls'], {
      got: `no ${missing}`,
      wanted: 'cert and key, or neither',
      fix: `add ${missing}`,
    })
  }
  if (sslMode === 'disable' && sink.tls !== null)
    report.complain([...path, 'tls'], {
      got: 'TLS files without TLS',
      wanted: 'sslMode verify-full, verify-ca or require',
      fix: 'set sslMode to verify-full, or remove tls',
    })
  const isChecked = sslMode === 'verify-full' || sslMode === 'verify-ca'
  const isElsewhere = hosts.some(({ host }) => !isThisBox(host))
  if (!isChecked && isElsewhere && sink.password !== null && !sink.allowInsecure)
    report.complain([...path, 'sslMode'], {
      got: `${sslMode}, with a password for another host`,
      wanted: 'a connection on which nobody else can ask for the password',
      fix: 'set sslMode to verify-full, with tls.ca if need be, or set allowInsecure to true',
    })
}
