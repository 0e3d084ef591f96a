/**
 * Trying a gateway out with single messages: through one sink, beside the spool, or on the way that
 * a device's reading takes. The composition implements it (gateway/trials/); commands and the
 * admin server ask.
 */
import type { SinkAnswer } from './sink.ts'

/** One message for one sink. */
export interface TrialMessage {
  /** Name of the sink. */
  readonly sink: string
  /** null: the first that goes to the sink. */
  readonly stream: string | null
  /** null: one that the stream's first filter takes. */
  readonly topic: string | null
  /** null: by the stream's configuration. */
  readonly device: string | null
  readonly message: Uint8Array
}

/** What came of it. */
export interface TrialOutcome {
  /** Of the record, for a look at the receiver. */
  readonly id: string
  /** Where it went, without secrets. */
  readonly target: string
  readonly answer: SinkAnswer
  readonly taken: boolean
  /** What the receiver said, and what a gateway would do about it, in a sentence. */
  readonly meaning: string
}

export type ReadingStage = 'arrived' | 'committed' | 'acknowledged' | 'sent' | 'stored'

/** Where a test reading is on its way, so far. */
export interface TestReading {
  /** Of its record. */
  readonly id: string
  readonly topic: string
  /** In the order of the way. */
  readonly stages: ReadonlyArray<{
    readonly stage: ReadingStage
    /** Wall clock, ms since the epoch; null: not yet. */
    readonly atMs: number | null
    /** In words: by which sink, or what keeps it. */
    readonly detail?: string
  }>
}

/** What can be tried of a gateway that runs. All refuse with an OperatorError. */
export interface Trials {
  /** What the message would become in the sink. Sends nothing. */
  preview(trial: TrialMessage): Promise<string>
  /** Sends the message through a sink of its own beside the one that runs. */
  trySink(trial: TrialMessage): Promise<TrialOutcome>
  /**
   * Gives a reading to the streams that take its topic, and resolves when it is acknowledged, or
   * after two seconds. null: a topic that the first stream takes, a payload that names the test.
   */
  sendReading(topic: string | null, payload: Uint8Array | null): Promise<TestReading>
  /** null: not known any more; the last sixteen are. */
  reading(id: string): TestReading | null
}
