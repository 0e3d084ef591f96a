/** Batches or records as messages of a JetStream stream: see README.md. */
import type { Batch } from '../../ports/sink.ts'
import { Unmappable } from '../mapping/record-view.ts'
import { compileTemplate } from '../mapping/template.ts'
import type { SinkType } from '../sink-type.ts'
import { type NatsSinkConfig, natsFiles, natsKeys, natsUrl } from './config.ts'
import { checkNatsSink } from './config-checks.ts'
import {
  batchMessage,
  batchSubject,
  type NatsMessage,
  RecordMessages,
  subjectTemplate,
} from './encode.ts'
import { natsClient } from './jetstream/link.ts'
import { NatsNotices } from './notices.ts'
import { probeStream } from './probe.ts'
import { promiseOf } from './promise.ts'
import { createNatsSink } from './sink.ts'

export const natsType = {
  keys: natsKeys,
  packages: [natsClient],
  check: checkNatsSink,
  files: natsFiles,
  url: natsUrl,
  promise: (config) => promiseOf(config, { facts: null, lacks: null }),
  preview,
  create: createNatsSink,
  notices: (options) => new NatsNotices(options),
  probe: probeStream,
} satisfies SinkType<NatsSinkConfig>

async function preview(config: NatsSinkConfig, batch: Batch): Promise<string> {
  const template = compileTemplate(subjectTemplate(config))
  if (config.message === 'batch') {
    const subject = batchSubject(batch, template)
    return textOf(await batchMessage(batch, 'identity', subject))
  }
  const messages = new RecordMessages(batch, config.body, template)
  let text = ''
  for await (const record of batch.records()) {
    try {
      text += textOf(messages.of(record))
    } catch (error) {
      if (!(error instanceof Unmappable)) throw error
      text += `record ${record.seq} would be refused: unmappable: ${error.message}\n`
    }
  }
  return text
}

function textOf({ subject, headers, body }: NatsMessage): string {
  const head = headers.map(([name, value]) => `${name}: ${value}\n`).join('')
  const text = Buffer.from(body).toString()
  return `${subject}\n${head}\n${text}${text.endsWith('\n') ? '' : '\n'}`
}
