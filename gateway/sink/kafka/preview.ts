/** What a batch would become, for people. Touches nothing. */
import type { Batch } from '../../ports/sink.ts'
import type { KafkaSinkConfig } from './config.ts'
import { kafkaEncoder } from './encode.ts'

export async function previewMessages(config: KafkaSinkConfig, batch: Batch): Promise<string> {
  const { messages, refused } = await kafkaEncoder(config).encode(batch)
  const sent = messages.map(({ topic, key, value, headers, timestamp }) => {
    const lines = [...headers].map(([name, text]) => `${name.toString()}: ${text.toString()}`)
    const time = new Date(Number(timestamp)).toISOString()
    return [`topic ${topic}, key ${key.toString()}, ${time}`, ...lines, '', value.toString()]
  })
  const left = refused.map(({ seq, reason }) => [`seq ${seq} would be refused: ${reason}`])
  return [...sent, ...left].map((lines) => `${lines.join('\n')}\n`).join('\n')
}
