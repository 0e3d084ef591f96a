/** A made-up record, for the look of what a mapping makes before any record came. */
import type { Batch } from '../../ports/sink.ts'
import { type FieldValue, RecordView } from './record-view.ts'

const PAYLOAD = '{"value":0}'

/** Has all that a mapping may ask for: each level of its topic, a number at each place. */
export class ExampleView extends RecordView {
  constructor(places: Pick<Batch, 'gateway' | 'stream'>) {
    super(places)
    const id = `${places.gateway}:example:${places.stream}:1`
    const named = { id, seq: 1, device: 'example', topic: 'example', qos: 1 } as const
    const line = `${JSON.stringify(named).slice(0, -1)},"payload":${PAYLOAD}}\n`
    this.at({
      ...named,
      receivedAtMs: Date.UTC(2026, 0, 1),
      expirySeconds: null,
      payloadKind: 'json',
      payload: Buffer.from(PAYLOAD),
      line: Buffer.from(line),
    })
  }

  override level(): string {
    return 'example'
  }

  override field(): FieldValue {
    return { type: 'number', text: '0' }
  }
}
