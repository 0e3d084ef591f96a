/** What the device table counts. */
export interface DeviceStats {
  /** In the table. */
  readonly count: number
  /** Of those, connected now. */
  readonly connected: number
  /** Of those, silent on a stream with `silentAfter`. */
  readonly silent: number
  /** Since the start: those that gave way to others. */
  readonly evicted: number
  /** Of each stream with `silentAfter`. */
  readonly silence: readonly SilenceStats[]
}

export interface SilenceStats {
  readonly stream: string
  readonly silentAfterMs: number
  readonly silent: number
  /** Time passes for its devices: they could be heard. */
  readonly isJudged: boolean
}
