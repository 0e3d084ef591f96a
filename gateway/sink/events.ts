/**
 * What the sink stage tells the world. `type` is `sink.<what>`; every event carries plain data
 * only, never a secret.
 */
import type { WrittenCode } from '../shared/text/answer-code.ts'

export type SinkEvent =
  /**
   * A request ended without a word on its records. `what`: see SinkAnswer.kind; `status`: the far
   * side's code; null: it gave none.
   */
  | {
      readonly type: 'sink.not-acked'
      readonly sink: string
      readonly stream: string
      readonly what: 'retry' | 'too-large' | 'refused' | 'malformed' | 'hold'
      readonly status: WrittenCode
      readonly detail: string
    }
  /**
   * A secret or certificate file has new content; new requests use it. `what` names the setting.
   */
  | {
      readonly type: 'sink.file-changed'
      readonly sink: string
      readonly what: string
      readonly file: string
    }
  /**
   * It cannot be used: `kept` says that the content read before stays in use; without it the sink
   * holds (I8).
   */
  | {
      readonly type: 'sink.file-unusable'
      readonly sink: string
      readonly what: string
      readonly file: string
      readonly kept: boolean
      readonly detail: string
    }
  /** A client library that its type needs is missing: nothing is sent (I8). */
  | { readonly type: 'sink.package-missing'; readonly sink: string; readonly detail: string }
  /**
   * A batch goes out though an earlier try of it may have arrived, and nothing can tell: its records
   * may be there twice.
   */
  | {
      readonly type: 'sink.may-repeat'
      readonly sink: string
      readonly stream: string
      readonly firstSeq: number
      readonly lastSeq: number
      readonly why: string
    }
  /** A configured header is one that only the contract sets; it is not sent. */
  | { readonly type: 'sink.header-ignored'; readonly sink: string; readonly header: string }
  /**
   * The far side lost what it had to keep of what was in flight; that goes again, and the promise
   * says less from then on. `times`: since the start.
   */
  | {
      readonly type: 'sink.session-lost'
      readonly sink: string
      readonly stream: string
      readonly times: number
    }
  /** Other gateways are told nothing of clients that connect, and tell nothing: see ports/notices.ts. */
  | { readonly type: 'sink.notices-lost'; readonly sink: string; readonly detail: string }
  /** They are again. */
  | { readonly type: 'sink.notices-back'; readonly sink: string }

export type EmitSinkEvent = (event: SinkEvent) => void
