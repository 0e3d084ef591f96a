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
}
