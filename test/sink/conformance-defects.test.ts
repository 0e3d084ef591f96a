/** The conformance suite catches what it is for: a defect planted for each of its checks. */
import { afterEach, expect, test } from 'vitest'
import { reapProcesses } from '../support/process.ts'
import { CHECKS, openBench, type SinkHarness } from './conformance.ts'
import { fileHarness } from './file/harness.ts'
import { type PlantedDefect, plantedReceiver } from './planted-sink.ts'

const [
  ORDER,
  ENCODER,
  REPEAT,
  GAPS,
  OUTAGE,
  TROUBLE,
  LOST,
  PART,
  REFUSAL,
  REQUEUE,
  ABORT,
  CLOSE,
  KILLS,
] = Object.keys(CHECKS)

/** Each with the check that is there for it. */
const DEFECTS: Readonly<Record<PlantedDefect, string | undefined>> = {
  'acks without storing': ORDER,
  'stores backwards': ORDER,
  'another fingerprint each time': ENCODER,
  'carries no gap': ENCODER,
  'stores a repeat again': REPEAT,
  'knows a repeat only while it runs': REPEAT,
  'tells gaps of a batch that failed': GAPS,
  'tells gaps with each repeat': GAPS,
  'acks in an outage': OUTAGE,
  'refuses in an outage': OUTAGE,
  'tries again what an operator has to see to': TROUBLE,
  'takes a lost answer for an ack': LOST,
  'says that nothing left when the answer is lost': LOST,
  'acks all of a batch that was taken in part': PART,
  'acks what is refused': REFUSAL,
  'takes what was requeued for what it refused': REQUEUE,
  'acks what was given up': ABORT,
  'says that nothing left when it is given up': ABORT,
  'takes batches when it is closed': CLOSE,
}

function harnessOf(defect: PlantedDefect | null): SinkHarness {
  return { promise: 'exactly once', open: async () => plantedReceiver(defect, {}) }
}

/** Names of the checks that fail. */
async function failuresOf(harness: SinkHarness, names: readonly string[]): Promise<string[]> {
  const failed: string[] = []
  for (const name of names) {
    const { bench, close } = await openBench('memory', harness)
    await CHECKS[name]?.(bench).catch(() => failed.push(name))
    await reapProcesses()
    await close()
  }
  return failed
}

const IN_PROCESS = Object.keys(CHECKS).filter((name) => name !== KILLS)

afterEach(() => {
  delete process.env['NODE_OPTIONS']
})

test('of a sink without a defect no check fails', async () => {
  expect(await failuresOf(harnessOf(null), IN_PROCESS)).toEqual([])
})

test.each(Object.entries(DEFECTS))('%s: caught', async (defect, check) => {
  expect(check).toBeDefined()
  const failed = await failuresOf(harnessOf(defect as PlantedDefect), IN_PROCESS)
  expect(failed).toContain(check)
})

test('acks a batch in five that it never wrote, over kills: caught', async () => {
  const preload = new URL('./forgetful-file.mjs', import.meta.url).href
  process.env['NODE_OPTIONS'] = `--import=${preload}`
  expect(await failuresOf(fileHarness, [KILLS ?? ''])).toEqual([KILLS])
}, 60_000)
