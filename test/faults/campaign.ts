/** What every long campaign takes and tells; main.ts runs them by name. */
export interface CampaignOptions {
  /** How much of it; each campaign says what one run is. */
  readonly runs: number
  /** Decides all that is random. */
  readonly seed: number
  /** Progress, a line each. */
  readonly say: (line: string) => void
  /** Of sinks, for the campaign that has one turn a type; absent: all. */
  readonly types?: readonly string[]
}

export interface CampaignResult {
  readonly name: string
  readonly runs: number
  /** How often each fault fired. */
  readonly faults: Record<string, number>
  /** Empty: every promise was kept. */
  readonly failures: string[]
}
