/**
 * What one key's schema cannot see of a NATS sink: subjects that no server takes, two ways to log
 * in, secrets without TLS. Pure.
 */
import { type Report, showValue } from '../../config/problems.ts'
import type { Path } from '../../config/walk.ts'
import { isLoopback } from '../../shared/hosts.ts'
import { type NatsSinkConfig, wantsTls } from './config.ts'
import { subjectTemplate } from './encode.ts'

/** What the keys of one sink say of each other. */
export function checkNatsSink(path: Path, sink: NatsSinkConfig, report: Report): void {
  checkSubject([...path, 'subject'], sink, report)
  checkBody(path, sink, report)
  checkLogin(path, sink, report)
  checkTls(path, sink, report)
}

function checkSubject(path: Path, sink: NatsSinkConfig, report: Report): void {
  const subject = subjectTemplate(sink)
  const names = [...subject.matchAll(/\$\{([^}]*)\}/g)].map(([, name]) => name ?? '')
  const got = showValue(subject)
  const tokens = subject.replaceAll(/\$\{[^}]*\}/g, 'x')
  if (!/^[^\s.*>]+(\.[^\s.*>]+)*$/.test(tokens) || tokens.startsWith('$')) {
    report.complain(path, {
      got,
      wanted: 'a subject: words with dots between, no blanks, no * and >, no $ in front',
      fix: 'write a subject such as plant.${gateway}.${stream}',
    })
  }
  const other = names.find((name) => name !== 'gateway' && name !== 'stream')
  if (sink.message === 'batch' && other !== undefined) {
    report.complain(path, {
      got: `\${${other}} in the subject of whole batches`,
      wanted: 'one subject for each stream: ${gateway} and ${stream} alone',
      fix: 'remove it, or set message to record',
    })
  }
}

function checkBody(path: Path, { message, body }: NatsSinkConfig, report: Report): void {
  if (message === 'record' || body === null) return
  report.complain([...path, 'body'], {
    got: `body: ${body} beside message: batch`,
    wanted: 'body of records alone; a batch is NDJSON of whole records',
    fix: 'remove body, or set message to record',
  })
}

function checkLogin(path: Path, sink: NatsSinkConfig, report: Report): void {
  const ways = (['user', 'token', 'nkey', 'credentials'] as const).filter(
    (key) => sink[key] !== null,
  )
  if (ways.length > 1) {
    report.complain([...path, ways[1] ?? 'user'], {
      got: ways.join(' and '),
      wanted: 'one way to log in',
      fix: `remove all but one of ${ways.join(', ')}`,
    })
  }
  if (sink.password !== null && sink.user === null) {
    report.complain([...path, 'password'], {
      got: 'a password without a user',
      wanted: 'user and password',
      fix: 'set user as well',
    })
  }
}

function checkTls(path: Path, sink: NatsSinkConfig, report: Report): void {
  const { cert = null, key = null } = sink.tls ?? {}
  if ((cert === null) !== (key === null)) {
    const missing = cert === null ? 'cert' : 'key'
    report.complain([...path, 'tls'], {
      got: `no ${missing}`,
      wanted: 'cert and key, or neither',
      fix: `add ${missing}`,
    })
  }
  const isSecret = sink.password !== null || sink.token !== null
  if (!isSecret || wantsTls(sink) || sink.allowInsecure) return
  const open = sink.servers.find((server) => !isLoopback(hostOf(server)))
  if (open === undefined) return
  report.complain([...path, 'servers'], {
    got: `${open} without TLS, with a secret`,
    wanted: 'TLS, so that nobody on the way can read the secret',
    fix: 'write tls:// in front of the server, use nkey or credentials, or set allowInsecure to true',
  })
}

function hostOf(server: string): string {
  return server.replace(/^[a-z]+:\/\//, '').replace(/:\d+$/, '')
}
