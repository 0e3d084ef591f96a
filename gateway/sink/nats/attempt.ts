/** One try of a batch, for the one who sends it: over what, how long, and whether it still counts. */
import type { Batch, SinkAnswer } from '../../ports/sink.ts'
import type { StreamFacts } from './jetstream/api.ts'
import type { OpenLink } from './jetstream/link.ts'

export interface NatsAttempt {
  readonly batch: Batch
  readonly link: OpenLink
  /** Nobody waits for it any more: nothing new may be sent. */
  readonly isOver: boolean
  /** Resolves when it is. */
  readonly over: Promise<void>
  /** As they were with this connection; `again`: asked anew. @throws LinkFault */
  facts(again?: 'again'): Promise<StreamFacts>
  /** Bytes have left. */
  sent(bytes: number): void
  /** It may be there twice afterwards. */
  mayRepeat(why: string): void
}

/** How batches become messages of a stream. */
export interface MessageMode {
  /** @throws LinkFault */
  send(attempt: NatsAttempt): Promise<SinkAnswer>
}
