/**
 * Is the database there, do the tables fit, may this user write? For `sluice check --try`: reads the
 * catalog, writes nothing.
 */

import type { ProbeStep, SinkProbe } from '../../ports/sink.ts'
import { SinkTls } from '../http/tls.ts'
import type { SinkProbeOptions } from '../sink-type.ts'
import type { PostgresSinkConfig } from './config.ts'
import { addressOf, shownAddress } from './wire/address.ts'
import { faultOf } from './wire/faults.ts'
import { Links } from './wire/links.ts'

export async function probeDatabase({
  name,
  config,
}: SinkProbeOptions<PostgresSinkConfig>): Promise<SinkProbe> {
  const address = addressOf(config)
  const steps: ProbeStep[] = []
  const say = (step: string, verdict: ProbeStep['verdict'], detail: string): void => {
    steps.push({ step, verdict, detail })
  }
  const links = new Links(config, new SinkTls(name, config.tls, () => undefined))
  try {
    const { facts } = await links.take(new AbortController().signal)
    const tls = address.sslMode === 'disable' ? 'without TLS' : `over TLS (${address.sslMode})`
    say('connection', 'ok', `PostgreSQL ${facts.version}, ${tls}`)
    const tables = [config.table, config.queueTable, config.gapTable].filter((one) => one !== null)
    say('tables', 'ok', `${tables.join(', ')} are there, and may be written`)
    if (facts.doubt === null) say('durable', 'ok', 'a commit is on disk when it is acked')
    else say('durable', 'warning', `a crash there loses acked records: ${facts.doubt}`)
  } catch (error) {
    const { detail, kind, code } = faultOf(error)
    const isIn = kind === 'hold' && !/^(?:28|3D)/.test(code ?? '')
    say(isIn ? 'tables' : 'connection', 'problem', detail)
  } finally {
    links.close()
  }
  return { sink: name, target: shownAddress(address), steps }
}
