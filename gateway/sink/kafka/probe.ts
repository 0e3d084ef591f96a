/**
 * Is the cluster there, and would it take batches? The library, the credentials, a connection, the
 * topic if it is one; told in words, step by step up to the first that fails. Delivers nothing and
 * creates nothing.
 */

import type { ProbeStep, SinkProbe } from '../../ports/sink.ts'
import { errorMessage } from '../../shared/errors.ts'
import { within } from '../../shared/time/within.ts'
import { compileTemplate } from '../mapping/template.ts'
import type { SinkProbeOptions } from '../sink-type.ts'
import { answerTo } from './answers.ts'
import type { KafkaSinkConfig } from './config.ts'
import { KafkaCredentials } from './credentials.ts'
import { constantOf, withDots } from './encode.ts'
import { type KafkaLibrary, type KafkaTopic, kafkaLibrary } from './library.ts'
import { ProducerSession } from './session.ts'

export async function probeCluster(options: SinkProbeOptions<KafkaSinkConfig>): Promise<SinkProbe> {
  const { name, config } = options
  const target = config.brokers.join(', ')
  return { sink: name, target, steps: await stepsOf(name, config, target) }
}

async function stepsOf(
  name: string,
  config: KafkaSinkConfig,
  target: string,
): Promise<ProbeStep[]> {
  let library: KafkaLibrary
  try {
    library = await kafkaLibrary.load()
  } catch (error) {
    return [{ step: 'library', verdict: 'problem', detail: errorMessage(error) }]
  }
  const shown = new KafkaCredentials(name, config, () => undefined).resolve()
  if ('why' in shown) return [{ step: 'settings', verdict: 'problem', detail: shown.why }]
  const steps: ProbeStep[] = []
  const session = new ProducerSession(library, config)
  let step = 'connection'
  try {
    const all = await answered(session.prepare(shown, []), config.timeout)
    const count = all.brokers.size
    steps.push({ step, verdict: 'ok', detail: `the cluster has ${count} broker(s)` })
    step = 'topic'
    const constant = constantOf(compileTemplate(config.topic))
    const topics = [constant === null ? null : withDots(constant), config.gapsTopic]
    for (const topic of topics) {
      if (topic === null) continue
      const { topics: found } = await answered(session.prepare(shown, [topic]), config.timeout)
      steps.push({ step, ...told(topic, found.get(topic)) })
    }
  } catch (error) {
    const answer = answerTo(error, { target, unsent: true, shown })
    const detail = 'detail' in answer ? answer.detail : errorMessage(error)
    steps.push({ step, verdict: 'problem', detail })
  } finally {
    session.discard()
  }
  return steps
}

async function answered<T>(question: Promise<T>, timeoutMs: number): Promise<T> {
  question.catch(() => undefined)
  await within(
    question.catch(() => undefined),
    timeoutMs,
  )
  const silence = new Error(`it was silent for ${Math.round(timeoutMs / 1000)} s`)
  return await Promise.race([question, Promise.reject(silence)])
}

function told(topic: string, found: KafkaTopic | undefined): Pick<ProbeStep, 'verdict' | 'detail'> {
  if (found === undefined || found.partitions.length === 0)
    return { verdict: 'problem', detail: `topic ${topic} is not there: create it` }
  const partitions = `${found.partitions.length} partition(s)`
  if (found.partitions.some(({ replicas }) => replicas.length < 2))
    return {
      verdict: 'warning',
      detail: `topic ${topic}: ${partitions}, one replica: what was acked is lost with its broker`,
    }
  return { verdict: 'ok', detail: `topic ${topic}: ${partitions}` }
}
