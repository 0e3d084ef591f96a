/**
 * What a group of measures gets and gives. Each is one file in groups/, starts what it needs and
 * ends it.
 */
import type { Goal } from './goals.ts'
import { type SluiceOptions, type System, startSluice } from './systems.ts'

export interface Settings {
  /** Systems are measured in turn, so many times. */
  readonly rounds: number
  /** Measured time of each load. */
  readonly seconds: number
  readonly seed: number
  /** Records of the backlog; 0 leaves out what needs one. */
  readonly backlog: number
  /** Of the group sinks: names of types; none: all. */
  readonly sinks: readonly string[]
  /** A line of figures, while it goes on. */
  readonly say: (text: string) => void
}

export interface Group {
  readonly name: string
  readonly about: string
  run(settings: Settings): Promise<readonly Goal[]>
}

/** A gateway for the time of `use`, ended whatever happens. */
export async function withSluice<T>(
  options: SluiceOptions,
  use: (system: System) => Promise<T>,
): Promise<T> {
  return withSystem(() => startSluice(options), use)
}

export async function withSystem<T>(
  start: () => Promise<System>,
  use: (system: System) => Promise<T>,
): Promise<T> {
  const system = await start()
  try {
    return await use(system)
  } finally {
    await system.stop()
  }
}
