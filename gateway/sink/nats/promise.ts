/** What a NATS sink promises: by its configuration, and less where the stream shows to give less. Pure. */
import type { SinkPromise } from '../../ports/sink.ts'
import type { NatsSinkConfig } from './config.ts'
import type { StreamFacts } from './jetstream/api.ts'

interface Shown {
  /** null: the stream was not seen yet. */
  readonly facts: Pick<
    StreamFacts,
    'storage' | 'retention' | 'mayForget' | 'duplicateWindowMs'
  > | null
  /** What the server turned out not to do; null: nothing. */
  readonly lacks: string | null
}

type Promising = Pick<
  NatsSinkConfig,
  'message' | 'minReplicas' | 'syncAlways' | 'whenLastMessageIsGone'
>

/** A majority of them is more than one server. */
const REPLICATED = 3

export function promiseOf(config: Promising, { facts, lacks }: Shown): SinkPromise {
  const ack = ackOf(config, facts?.storage === 'memory')
  if (config.message === 'record') {
    const window = facts === null ? '' : ` (${facts.duplicateWindowMs / 1000} s)`
    const by = `with ids; the stream drops repeats within its duplicate window${window}`
    return { delivery: 'at least once', by, ack }
  }
  if (lacks !== null) return { delivery: 'at least once', by: `with ids: ${lacks}`, ack }
  const sends = config.whenLastMessageIsGone === 'send'
  if (sends && facts !== null && facts.retention !== 'limits') {
    const by = `with ids: a stream of retention ${facts.retention} removes the message that tells`
    return { delivery: 'at least once', by, ack }
  }
  const but =
    sends && facts?.mayForget === true ? ', unless limits of the stream have removed it' : ''
  return { delivery: 'exactly once', by: `by the last message of its subject${but}`, ack }
}

function ackOf({ minReplicas, syncAlways }: Promising, isInMemory: boolean): SinkPromise['ack'] {
  if (isInMemory) return 'in memory'
  if (syncAlways) return 'durable'
  return minReplicas >= REPLICATED ? 'replicated' : 'received'
}
