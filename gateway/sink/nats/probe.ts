/**
 * Is the stream there, and would it take batches? Connects, asks how the stream is, and publishes
 * nothing; told in words, step by step up to the first that fails.
 */
import type { ProbeStep, SinkProbe } from '../../ports/sink.ts'
import { hideSecrets } from '../../shared/text/hide-secrets.ts'
import type { SinkProbeOptions } from '../sink-type.ts'
import { type NatsSinkConfig, natsUrl } from './config.ts'
import { constantTokens } from './encode.ts'
import { type StreamFacts, streamFacts, takesPrefix } from './jetstream/api.ts'
import { LinkFault, NatsLink } from './jetstream/link.ts'

export async function probeStream(options: SinkProbeOptions<NatsSinkConfig>): Promise<SinkProbe> {
  const { name, config } = options
  const steps: ProbeStep[] = []
  const say = (step: string, verdict: ProbeStep['verdict'], detail: string) =>
    steps.push({ step, verdict, detail })
  const { domain, jetStream, connectTimeout: timeoutMs } = config
  const link = new NatsLink(`${name} check`, config)
  let step = 'connect'
  try {
    const open = await link.open()
    say(step, 'ok', `nats-server ${open.version} at ${open.connection.getServer()}`)
    step = 'stream'
    const facts = await streamFacts(open, jetStream, { domain, timeoutMs })
    const { closedTo, replicas, storage, subjects } = facts
    if (closedTo !== null) say(step, 'problem', `${jetStream} ${closedTo}`)
    else say(step, 'ok', `${jetStream}: ${subjects.join(', ')}; ${storage}, replicas: ${replicas}`)
    for (const [verdict, detail] of doubts(config, facts)) say(step, verdict, detail)
  } catch (error) {
    const detail = error instanceof LinkFault ? error.message : String(error)
    say(step, 'problem', hideSecrets(detail, link.secrets))
  } finally {
    link.close()
  }
  return { sink: name, target: natsUrl(config), steps }
}

function doubts(
  config: NatsSinkConfig,
  facts: StreamFacts,
): Array<readonly ['warning' | 'problem', string]> {
  const found: Array<readonly ['warning' | 'problem', string]> = []
  const { minReplicas, message, whenLastMessageIsGone } = config
  if (facts.replicas < minReplicas)
    found.push(['problem', `it has ${facts.replicas} replicas, minReplicas is ${minReplicas}`])
  if (facts.storage === 'memory')
    found.push(['warning', 'it keeps messages in memory: they go with its servers'])
  if (message === 'batch' && facts.renamesSubjects)
    found.push(['problem', 'it renames subjects: set message to record'])
  if (message === 'batch' && facts.mayForget && whenLastMessageIsGone === 'send')
    found.push([
      'warning',
      'its limits may remove the message that tells whether a batch arrived: such a batch may come twice',
    ])
  const tokens = constantTokens(config)
  if (!takesPrefix(facts.subjects, tokens))
    found.push([
      'problem',
      `it takes ${facts.subjects.join(', ')}, nothing like ${tokens.join('.')}`,
    ])
  return found
}
