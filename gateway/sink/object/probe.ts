/**
 * Is the store there, and does it know these credentials? One GET of a name that nobody has, told in
 * words: it delivers nothing and changes nothing. Whether a PUT is allowed shows with the first one.
 */
import type { ProbeStep, SinkAnswer, SinkProbe } from '../../ports/sink.ts'
import type { SinkProbeOptions } from '../sink-type.ts'
import { readStoreAnswer } from './answers.ts'
import type { ObjectSinkConfig } from './config.ts'
import { StoreOrigin } from './origin.ts'

const NOBODYS_NAME = '.sluice-check-try'
const MAX_RETRY_AFTER_MS = 1000

export async function probeStore({
  name,
  config,
}: SinkProbeOptions<ObjectSinkConfig>): Promise<SinkProbe> {
  const nothing = (): void => undefined
  const options = { sink: name, config, emit: nothing, onSent: nothing, nowMs: Date.now }
  const origin = new StoreOrigin(options)
  const step = await ask(origin, config)
  origin.close()
  return { sink: name, target: origin.target, steps: [step] }
}

async function ask(origin: StoreOrigin, config: ObjectSinkConfig): Promise<ProbeStep> {
  const request = { method: 'GET', name: NOBODYS_NAME } as const
  const came = await origin.exchange(request, new AbortController().signal)
  if (came.kind === 'unsendable') return { step: 'settings', verdict: 'problem', detail: came.why }
  if (came.kind === 'failed') return { step: 'connection', verdict: 'problem', detail: came.detail }
  const said = readStoreAnswer(config.store, 'look', came.answer, MAX_RETRY_AFTER_MS)
  const { status } = came.answer
  if (said.kind === 'absent') {
    const detail = `answered ${status} to a GET: it is there; whether it takes objects was not seen`
    return { step: 'answer', verdict: 'ok', detail }
  }
  if (said.kind !== 'answer') {
    const detail = `answered ${status} to a GET of a name that nobody has: nothing can be compared there; give the credentials the right to read and list`
    return { step: 'answer', verdict: 'warning', detail }
  }
  const { kind } = said.answer
  const detail = origin.hide(detailOf(said.answer))
  return { step: 'answer', verdict: kind === 'retry' ? 'warning' : 'problem', detail }
}

function detailOf(answer: SinkAnswer): string {
  return 'detail' in answer ? answer.detail : 'answered'
}
