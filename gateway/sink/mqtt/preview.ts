/** What a batch would become, for people. */
import type { Batch } from '../../ports/sink.ts'
import type { MqttSinkConfig } from './config.ts'
import { type MessageOrNot, MqttEncoder } from './encode.ts'

export async function previewOf(config: MqttSinkConfig, batch: Batch): Promise<string> {
  let text = ''
  for await (const one of new MqttEncoder(config).messages(batch)) text += textOf(one, config)
  return text
}

function textOf(one: MessageOrNot, { qos, retain }: MqttSinkConfig): string {
  if ('refusal' in one) return `record ${one.seq} would be refused: ${one.refusal}\n`
  const { topic, payload, properties } = one.message
  const flags = retain ? `qos ${qos}, retained` : `qos ${qos}`
  const names = Object.entries(properties ?? {}).map(([name, value]) => `  ${name}: ${value}\n`)
  return `${topic} (${flags}):\n${names.join('')}${payload.toString()}\n`
}
