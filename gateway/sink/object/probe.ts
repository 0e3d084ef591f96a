/**
 * Is the store there, does it know these credentials, and is the bucket or the folder there that the
 * gateway does not make? A GET of a name that nobody has, and of the folder of a WebDAV server, told
 * in words: it delivers nothing and changes nothing. Whether a PUT is allowed shows with the first
 * one.
 */
import type { ProbeStep, SinkAnswer, SinkProbe } from '../../ports/sink.ts'
import type { SinkProbeOptions } from '../sink-type.ts'
import { readStoreAnswer } from './answers.ts'
import type { ObjectSinkConfig } from './config.ts'
import { StoreOrigin, type StoreRequest } from './origin.ts'

const NOBODYS_NAME = '.sluice-check-try'
const MAX_RETRY_AFTER_MS = 1000

export async function probeStore({
  name,
  config,
}: SinkProbeOptions<ObjectSinkConfig>): Promise<SinkProbe> {
  const nothing = (): void => undefined
  const options = { sink: name, config, emit: nothing, onSent: nothing, nowMs: Date.now }
  const origin = new StoreOrigin(options)
  const steps = [await ask(origin, config)]
  // An S3 store has said already that there is no such bucket.
  if (config.store === 'dav' && steps[0]?.verdict === 'ok') steps.push(await findFolder(origin))
  origin.close()
  return { sink: name, target: origin.target, steps }
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

/**
 * A server that shows no list of what is in a folder refuses the GET (403), and one that gives no
 * folders at all says so of a missing one, too: then the question is WebDAV's own.
 */
async function findFolder(origin: StoreOrigin): Promise<ProbeStep> {
  const { pathname } = origin.urlOf('')
  const got = await statusOf(origin, { method: 'GET', name: '', maxAnswerBytes: 0 })
  const isShown = got !== null && (got < 300 || got === 403)
  const found = isShown
    ? null
    : await statusOf(origin, { method: 'PROPFIND', name: '', headers: [['depth', '0']] })
  if (isShown || found === 207)
    return { step: 'folder', verdict: 'ok', detail: `${pathname} is there` }
  if (got === 404 || found === 404) {
    const detail = `${pathname} is not there (${got ?? found}): make the folder, or correct url; the gateway makes those below it alone`
    return { step: 'folder', verdict: 'problem', detail }
  }
  const detail = `whether ${pathname} is there was not seen: it answered ${got ?? 'nothing'} to a GET, ${found ?? 'nothing'} to a PROPFIND`
  return { step: 'folder', verdict: 'warning', detail }
}

/** null: none came. */
async function statusOf(origin: StoreOrigin, request: StoreRequest): Promise<number | null> {
  const came = await origin.exchange(request, new AbortController().signal)
  return came.kind === 'answered' ? came.answer.status : null
}

function detailOf(answer: SinkAnswer): string {
  return 'detail' in answer ? answer.detail : 'answered'
}
