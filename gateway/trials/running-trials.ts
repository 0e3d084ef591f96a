/** What can be tried of a gateway that runs: single messages through its sinks and its streams. */
import { OperatorError } from '../ports/operator.ts'
import type { Trials } from '../ports/trials.ts'
import type { Stages } from '../status-sources.ts'
import { previewSink, trySink, UnknownNameError } from './sink-trial.ts'
import type { TestReadings } from './test-readings.ts'

/** Each has a sink of its own, with its connections. */
const MAX_SINK_TRIALS = 4

/** `stages`: as they are at each call; a reload may exchange them. */
export function runningTrials(stages: Stages, readings: TestReadings): Trials {
  let running = 0
  const bounded = async <T>(look: () => Promise<T>): Promise<T> => {
    if (running >= MAX_SINK_TRIALS)
      throw new OperatorError(
        'SLUICE_BUSY',
        `${MAX_SINK_TRIALS} sinks are being tried: wait until one has answered`,
      )
    running++
    try {
      return await look()
    } catch (error) {
      if (error instanceof UnknownNameError)
        throw new OperatorError('ADMIN_NOT_FOUND', error.message)
      throw error
    } finally {
      running--
    }
  }
  return {
    preview: (trial) => bounded(() => previewSink(stages.config, trial)),
    trySink: (trial) => bounded(() => trySink(stages.config, trial)),
    sendReading: (topic, payload) => readings.send(topic, payload, stages),
    reading: (id) => readings.find(id, stages),
  }
}
