/** What one key's schema cannot see of a Kafka sink, and which files it reads. Pure. */
import type { Report } from '../../config/problems.ts'
import type { Path } from '../../config/walk.ts'
import { isLoopback } from '../../shared/hosts.ts'
import { compileTemplate } from '../mapping/template.ts'
import { brokerOf, type KafkaSinkConfig, topicFault } from './config.ts'
import { constantOf, withDots } from './encode.ts'

/** What the keys of one sink say of each other. */
export function checkKafkaSink(path: Path, sink: KafkaSinkConfig, report: Report): void {
  const topic = constantOf(compileTemplate(sink.topic))
  const fault = topic === null ? null : topicFault(withDots(topic))
  if (fault !== null)
    report.complain([...path, 'topic'], {
      got: JSON.stringify(sink.topic),
      wanted: 'the name of a topic',
      fix: fault,
    })
  checkTls(path, sink, report)
  checkSasl(path, sink, report)
}

function checkTls(path: Path, { tls }: KafkaSinkConfig, report: Report): void {
  const { cert = null, key = null } = tls ?? {}
  if ((cert === null) === (key === null)) return
  const missing = cert === null ? 'cert' : 'key'
  report.complain([...path, 'tls'], {
    got: `no ${missing}`,
    wanted: 'cert and key, or neither',
    fix: `add ${missing}`,
  })
}

function checkSasl(path: Path, sink: KafkaSinkConfig, report: Report): void {
  const { sasl, tls, brokers, allowInsecure } = sink
  if (sasl === null) return
  for (const key of ['username', 'password'] as const) {
    if (sasl[key] === null)
      report.complain([...path, 'sasl', key], {
        got: 'nothing',
        wanted: `the ${key} that the brokers know`,
        fix: `write ${key}, or sasl: null`,
      })
  }
  const far = brokers.find((broker) => !isLoopback(brokerOf(broker)?.host ?? broker))
  if (sasl.mechanism === 'plain' && tls === null && far !== undefined && !allowInsecure)
    report.complain([...path, 'sasl', 'mechanism'], {
      got: 'plain, to another host without TLS',
      wanted: 'a password that nobody on the way can read',
      fix: 'write tls: {}, or a scram mechanism, or set allowInsecure to true',
    })
}

/** The files that a sink reads, by the key that names them. */
export function kafkaFiles({
  tls,
  sasl,
}: KafkaSinkConfig): ReadonlyArray<readonly [key: string, path: string]> {
  const pem = Object.entries(tls ?? {}).flatMap(([key, path]) =>
    typeof path === 'string' ? [[`tls.${key}`, path] as const] : [],
  )
  const password = sasl?.password ?? null
  return password !== null && 'file' in password
    ? [...pem, ['sasl.password', password.file] as const]
    : pem
}
