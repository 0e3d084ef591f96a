/**
 * The streams of a spool at its opening: those of the configuration and those that the store holds
 * besides (I8), each with the state and index that were recovered, or with new ones.
 */
import type { Deflater } from '../codec/block.ts'
import type { CommitContents } from '../commit/commit-contents.ts'
import type { SinkBatchLimits, StreamConfig } from '../config.ts'
import type { EmitSpoolEvent } from '../events.ts'
import { PINNED_SHARE } from '../retention/retention.ts'
import { BlockIndex } from '../stream/block-index.ts'
import { BLOCK_TARGET_BYTES, type BlockLimits } from '../stream/open-blocks.ts'
import { type Identity, newStreamState } from '../stream/state.ts'
import { SpoolStream } from '../stream/stream.ts'
import { balanced } from '../stream/transitions.ts'
import type { SpoolTime } from '../time/spool-time.ts'
import type { OpenedFolder } from './opened-folder.ts'
import type { RecoveredState } from './recovery.ts'

interface ConfiguredStreams {
  readonly streams: Readonly<Record<string, StreamConfig>>
  readonly sinks: Readonly<Record<string, SinkBatchLimits>>
  readonly emit: EmitSpoolEvent
}

/** By name, configured ones first. */
export function openStreams(
  { streams: configs, sinks, emit }: ConfiguredStreams,
  recovered: RecoveredState | null,
  identity: Identity,
  deflater: Deflater,
  time: SpoolTime,
): Map<string, SpoolStream> {
  const streams = new Map<string, SpoolStream>()
  let nextId = 1
  for (const { state } of recovered?.streams.values() ?? []) nextId = Math.max(nextId, state.id + 1)
  for (const name of new Set([...Object.keys(configs), ...(recovered?.streams.keys() ?? [])])) {
    const config = configs[name] ?? null
    const known = recovered?.streams.get(name)
    const state = known?.state ?? newStreamState(name, nextId++, identity)
    const index = known?.index ?? new BlockIndex()
    const limits = blockLimits(config, sinks)
    const stream = new SpoolStream({ state, index, config, deflater, limits, time, emit })
    if (state.identities.at(-1)?.spoolId !== identity.spoolId) stream.startIdentity(identity)
    streams.set(name, stream)
  }
  return streams
}

/** One that is named while the spool is open; nothing takes or drains it before it is configured. */
export function newStream(
  name: string,
  streams: ReadonlyMap<string, SpoolStream>,
  { identity, ...parts }: NewStreamParts,
): SpoolStream {
  const newest = [...streams.values()].reduce((id, { state }) => Math.max(id, state.id), 0)
  const state = newStreamState(name, newest + 1, identity)
  const limits = blockLimits(null, {})
  return new SpoolStream({ ...parts, state, index: new BlockIndex(), config: null, limits })
}

interface NewStreamParts {
  readonly identity: Identity
  readonly deflater: Deflater
  readonly time: SpoolTime
  readonly emit: EmitSpoolEvent
}

export function blockLimits(
  config: StreamConfig | null,
  sinks: ConfiguredStreams['sinks'],
): BlockLimits {
  const sink = config ? sinks[config.sink] : undefined
  const maxBatchBytes = Math.min(
    sink?.maxBatchBytes ?? Number.POSITIVE_INFINITY,
    config?.whenFull === 'drop-oldest' ? config.maxBytes * PINNED_SHARE : Number.POSITIVE_INFINITY,
  )
  return {
    maxRecords: sink ? Math.max(1, Math.floor(sink.maxBatchRecords / 2)) : 5_000,
    maxRawBytes: Math.min(BLOCK_TARGET_BYTES, Math.floor(maxBatchBytes / 2)),
  }
}

/** Spool time of the newest block that is there. */
export function newestMs(recovered: RecoveredState | null): number {
  let newest = 0
  for (const { index } of recovered?.streams.values() ?? []) {
    for (const { spoolTimeMs } of index.tail) newest = Math.max(newest, spoolTimeMs)
  }
  return newest
}

/** Reads what counting needs; what does not add up is counted (I5). */
export async function prepareStream(
  stream: SpoolStream,
  contents: CommitContents,
  folder: OpenedFolder,
): Promise<void> {
  const { dropped } = stream.state.counters
  const corrupt = dropped.corrupt
  await stream.loadSegment(contents, stream.state.head.ordinal)
  // What is skipped inside a segment can only be counted with its blocks.
  for (const { firstOrdinal, blocks } of stream.index.sealed) {
    const isTouched = stream.state.skips.some(
      ([from, to]) => from < firstOrdinal + blocks && to > firstOrdinal,
    )
    if (isTouched) await stream.loadSegment(contents, firstOrdinal)
  }
  stream.recount()
  if (balanced(stream.state, stream.blockRecords)) {
    const what = `stream ${stream.name} did not hold what its counters say: the difference is counted as corrupt`
    folder.note(what, null)
    contents.touch(stream)
  }
  contents.tellBroken(stream, stream.check(0))
  stream.beginPassage()
  const isShort = folder.recovered?.streams.get(stream.name)?.isShort ?? false
  if (isShort || dropped.corrupt > corrupt) stream.passage?.foundShort()
  const { name, pendingRecords } = stream
  if (stream.config === null && pendingRecords > 0)
    folder.emit({ type: 'spool.orphaned-stream', stream: name, pendingRecords })
}
