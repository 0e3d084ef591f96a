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
  close(reason: 'leaving', detail: string): unknown
}

/**
 * Resolves at the last one. `all`: those that are open; `owing`: those of them to which acks are
 * owed, whatever these wait for.
 */
export async function sendAway<Connection extends Leaver>(
  all: ReadonlySet<Connection>,
  owing: ReadonlySet<Connection>,
  monotonicMs: () => number,
): Promise<void> {
  const size = Math.max(LEAST_OF_WAVE, Math.ceil(all.size / WAVES))
  let patienceMs = ALL_ACKS_MS
  while (all.size > 0) {
    const wave = [...all].slice(0, size)
    for (const connection of wave) connection.quiesce()
    const beganMs = monotonicMs()
    const deadlineMs = beganMs + Math.min(ACKS_MS, patienceMs)
    const isOwed = (): boolean => wave.some((one) => owing.has(one))
    while (isOwed() && monotonicMs() < deadlineMs) await sleep(ACKS_POLL_MS)
    patienceMs -= monotonicMs() - beganMs
    for (const connection of wave) connection.close('leaving', 'the gateway leaves')
    if (all.size > 0) await sleep(WAVE_MS)
  }
}
