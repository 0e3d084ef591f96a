/** What a sink would send, and what its receiver said to one message. Pure. */

export interface SinkPreview {
  readonly preview: string
}

export interface SinkTry {
  readonly id: string
  readonly target: string
  /** A gateway would count it as delivered. */
  readonly taken: boolean
  /** What the receiver said, and what a gateway would do about it. */
  readonly meaning: string
  /** As the receiver has it; null: none. */
  readonly code: string | number | null
}

/** `record test…:1 to https://…` and what came of it. */
export function tryText({ id, target, meaning, code }: SinkTry): string {
  return `Record ${id} to ${target}:\n${meaning}${code === null ? '' : ` [${code}]`}`
}
