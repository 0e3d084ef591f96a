/**
 * Connections are sent away a few at a time, so that the neighbors that take them do not get all
 * CONNECTs at once. Each leaves with the acks of what was taken from it.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** From one wave to the next. */
const WAVE_MS = 100
/** However many there are, they are gone after some 10 s. */
const WAVES = 100
const LEAST_OF_WAVE = 50
/** How long acks of a wave may take, and of all waves: a disk or sink that hangs keeps nobody here. */
const ACKS_MS = 2_000
const ALL_ACKS_MS = 10_000
const ACKS_POLL_MS = 5

interface Leaver {
  /** Nothing more is read; acks still leave. */
  quiesce(): void
  close(reason: Why, detail: string): unknown
}

type Why = 'leaving' | 'listener-removed'

/**
 * Resolves at the last one. `open`: those that are there, asked again and again; `owing`: those to
 * which acks are owed, whatever these wait for.
 */
export async function sendAway<Connection extends Leaver>(
  open: () => readonly Connection[],
  owing: ReadonlySet<Connection>,
  monotonicMs: () => number,
  [reason, detail]: readonly [Why, string],
): Promise<void> {
  const size = Math.max(LEAST_OF_WAVE, Math.ceil(open().length / WAVES))
  let patienceMs = ALL_ACKS_MS
  for (let all = open(); all.length > 0; all = open()) {
    const wave = all.slice(0, size)
    for (const connection of wave) connection.quiesce()
    const beganMs = monotonicMs()
    const deadlineMs = beganMs + Math.min(ACKS_MS, patienceMs)
    const isOwed = (): boolean => wave.some((one) => owing.has(one))
    while (isOwed() && monotonicMs() < deadlineMs) await sleep(ACKS_POLL_MS)
    patienceMs -= monotonicMs() - beganMs
    for (const connection of wave) connection.close(reason, detail)
    if (open().length > 0) await sleep(WAVE_MS)
  }
}
