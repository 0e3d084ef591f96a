/**
 * The real spool as the contract's model (../drain/model.ts) uses one: a real LevelDB folder, whose
 * commits wait for the model's word, are rejected now and then before or after they reached the
 * disk, and which a crash cuts off at any point as SIGKILL does. What the model asks about records
 * is answered from what was written to the store, record by record, never from what the spool
 * believes.
 *
 * Spool ids are shown to the model as `spool1`, `spool2`, ... in their order, for it compares their
 * ages.
 */
import assert from 'node:assert/strict'
import { Random } from '../../device-sim/random.ts'
import type { Message } from '../../gateway/ports/appender.ts'
import type { BatchEncoder } from '../../gateway/ports/sink.ts'
import type {
  LoadedBatch,
  NoteStore,
  Pin,
  Settlement,
  StreamQueue,
} from '../../gateway/ports/stream-queue.ts'
import { readBlock } from '../../gateway/spool/codec/block.ts'
import { unpackDeadLetter } from '../../gateway/spool/codec/dead-letter.ts'
import type { StreamConfig } from '../../gateway/spool/config.ts'
import type { SpoolQueue } from '../../gateway/spool/queue/queue.ts'
import { doomedBlocks, pinnedBlocks } from '../../gateway/spool/retention/retention.ts'
import { Spool } from '../../gateway/spool/spool.ts'
import { NAMESPACE, parseCommitKey } from '../../gateway/spool/store/keys.ts'
import { type Op, openStore, type Store } from '../../gateway/spool/store/store.ts'
import { unskipped } from '../../gateway/spool/stream/state.ts'
import type { OpenCommit } from '../../gateway/spool/stream/stream.ts'
import type { ModelSpool, ModelView } from '../drain/model.ts'
import { spoolConfig } from './configs.ts'
import { lanes, message, SINK, STREAM, temporaryFolder, unowned } from './spool-fixture.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** Turns of the event loop without anything in progress after which nothing will be. */
const QUIET_TURNS = 4
/** Share of the writes that the store rejects. */
const REJECTED_SHARE = 0.03
const NEVER = new Promise<never>(() => undefined)

interface Letter {
  readonly id: string
  readonly stream: string
  readonly n: number
}

/** What is on the disk, kept across crashes. */
class DiskLedger {
  readonly folder: string
  readonly clock: VirtualClock
  /** `<spool id>/<stream>/<seq>` -> reading number, of every record that was ever stored. */
  readonly readings = new Map<string, number>()
  /** By key. */
  readonly letters = new Map<string, Letter>()
  readonly spoolIds: string[] = []
  /** Writes that were rejected: before they reached the store, and after. */
  readonly rejected: { before: number; after: number }
  /**
   * What must not be on a disk; told by `idle`, for a write that throws is only a write that
   * failed.
   */
  failure: Error | null = null
  readonly #random: Random

  constructor(folder: string, clock: VirtualClock, seed: number, rejected: DiskLedger['rejected']) {
    this.folder = folder
    this.clock = clock
    this.rejected = rejected
    this.#random = new Random(seed, 'disk')
  }

  /** What becomes of the next write. */
  fate(): 'stored' | keyof DiskLedger['rejected'] {
    if (!this.#random.chance(REJECTED_SHARE)) return 'stored'
    const when = this.#random.chance(0.5) ? 'before' : 'after'
    this.rejected[when]++
    return when
  }

  shown(spoolId: string): string {
    let at = this.spoolIds.indexOf(spoolId)
    if (at < 0) at = this.spoolIds.push(spoolId) - 1
    return `spool${at + 1}`
  }

  real(shown: string): string {
    const spoolId = this.spoolIds[Number(shown.slice(5)) - 1]
    assert(spoolId, `${shown} was never seen`)
    return spoolId
  }

  /** Ops of a write that is durable now. */
  async written(ops: readonly Op[]): Promise<void> {
    for (const op of ops) {
      if (op.key[0] === NAMESPACE.deadLetters) {
        const key = op.key.toString('hex')
        if (op.type === 'del') this.letters.delete(key)
        else this.letters.set(key, letterOf(Buffer.from(op.value)))
      } else if (op.type === 'put' && parseCommitKey(op.key)?.kind === 'block') {
        const lines = (await readBlock(op.value)).toString().trimEnd().split('\n')
        for (const line of lines) {
          const { id, payload } = JSON.parse(line) as { id: string; payload: { n: number } }
          const [, spoolId, stream, seq] = id.split(':')
          const key = `${spoolId}/${stream}/${seq}`
          const known = this.readings.get(key) ?? payload.n
          if (known !== payload.n)
            this.failure = new Error(`${id} is reading ${known} and ${payload.n} (I4)`)
          this.readings.set(key, payload.n)
        }
      }
    }
  }

  reading(spoolId: string, stream: string, seq: number): number {
    const n = this.readings.get(`${spoolId}/${stream}/${seq}`)
    assert(n !== undefined, `seq ${seq} of ${stream} (${spoolId}) was never stored`)
    return n
  }
}

function letterOf(value: Buffer): Letter {
  const letter = unpackDeadLetter(value)
  assert(letter)
  const { payload } = JSON.parse(letter.line.toString()) as { payload: { n: number } }
  return { id: letter.info.id, stream: letter.info.id.split(':')[2] ?? '', n: payload.n }
}

/** One process: a store whose writes wait, and everything that a kill cuts off. */
class Generation {
  dead = false
  /** Reads, writes and loads on their way, but for a write that waits for the model. */
  busy = 0
  readonly #ledger: DiskLedger
  #held: (() => void) | null = null
  #isOpening = true
  /** The spool's, and those that it opens to salvage from. */
  readonly #stores = new Set<Store>()

  constructor(ledger: DiskLedger) {
    this.#ledger = ledger
  }

  get isHeld(): boolean {
    return this.#held !== null
  }

  opened(): void {
    this.#isOpening = false
  }

  /** The held write goes on. */
  release(): void {
    const go = this.#held
    this.#held = null
    go?.()
  }

  /** A promise of this process: after the kill nobody hears of it. */
  async alive<T>(promise: Promise<T>): Promise<T> {
    try {
      const value = await promise
      return this.dead ? await NEVER : value
    } catch (error) {
      if (this.dead) return await NEVER
      throw error
    }
  }

  async count<T>(promise: Promise<T>): Promise<T> {
    this.busy++
    try {
      return await promise
    } finally {
      this.busy--
    }
  }

  async crash(): Promise<void> {
    this.dead = true
    for (const store of this.#stores) await store.close()
  }

  async open(path: string, options: { readonly create: boolean }): Promise<Store> {
    const store = await openStore(path, options)
    this.#stores.add(store)
    const read = <T>(promise: Promise<T>): Promise<T> => this.alive(this.count(promise))
    return {
      get: (key) => read(store.get(key)),
      getMany: (keys) => read(store.getMany(keys)),
      keys: (range) => this.#iterate(store.keys(range)),
      entries: (range) => this.#iterate(store.entries(range)),
      compact: (start, end) => store.compact(start, end),
      close: async () => {
        if (this.dead) await NEVER
        this.#stores.delete(store)
        await store.close()
      },
      write: (ops) => this.alive(this.#write(store, ops)),
    }
  }

  async *#iterate<T>(source: AsyncIterable<T>): AsyncGenerator<T> {
    const iterator = source[Symbol.asyncIterator]()
    try {
      for (;;) {
        const next = await this.alive(this.count(iterator.next()))
        if (next.done === true) return
        yield next.value
      }
    } finally {
      if (!this.dead) await iterator.return?.()
    }
  }

  async #write(store: Store, ops: readonly Op[]): Promise<void> {
    if (!this.#isOpening) {
      await new Promise<void>((resolve) => {
        this.#held = resolve
      })
    }
    if (this.dead) return
    const fate = this.#isOpening ? 'stored' : this.#ledger.fate()
    if (fate !== 'before') await this.count(store.write(ops).then(() => this.#ledger.written(ops)))
    if (fate !== 'stored') throw new Error(`IO error: injected ${fate} the write`)
  }
}

interface Waiting {
  readonly stream: string
  readonly n: number
  isDurable: () => boolean
}

class RealModelSpool implements ModelSpool {
  readonly queues: readonly StreamQueue[]
  readonly notes: NoteStore
  readonly #spool: Spool
  readonly #ledger: DiskLedger
  readonly #generation: Generation
  readonly #names: readonly string[]
  /** Handed over and not durable. */
  #staged: Waiting[] = []
  /** Handed over and not taken: the lease of a new identity is being raised. */
  #refused: { readonly stream: string; readonly message: Message; readonly entry: Waiting }[] = []
  readonly #requeueing = new Set<string>()
  /** Dead letters that are not durable yet. */
  readonly #dying = new Set<{ readonly stream: string; readonly n: number }>()
  /** As the spool's own retention has it; null: nothing was committed yet. */
  #commit: OpenCommit | null = null
  #onDeadLetter: Parameters<ModelSpool['onDeadLetter']>[0] = () => undefined

  constructor(spool: Spool, ledger: DiskLedger, generation: Generation, names: readonly string[]) {
    this.#spool = spool
    this.#ledger = ledger
    this.#generation = generation
    this.#names = names
    ledger.shown(spool.spoolId)
    this.queues = spool.queues.map((queue) => this.#asSeen(queue))
    this.notes = {
      get: (key) => spool.notes.get(key),
      set: (key, value) => generation.alive(spool.notes.set(key, value)),
    }
    for (const stream of spool.streams.values()) {
      const close = stream.close.bind(stream)
      stream.close = (commit, ...rest) => {
        this.#commit = commit
        return close(commit, ...rest)
      }
    }
    spool.appender.onSpace(() => {
      if (!generation.dead) this.#offerAgain()
    })
  }

  append(stream: string, payload: { readonly n: number }): void {
    const entry: Waiting = { stream, n: payload.n, isDurable: () => false }
    this.#staged.push(entry)
    this.#refused.push({ stream, message: message(JSON.stringify(payload)), entry })
    this.#offerAgain()
  }

  #offerAgain(): void {
    const waiting = this.#refused
    this.#refused = []
    for (const one of waiting) {
      const { appender } = this.#spool
      const ticket = appender.append(lanes(this.#spool, 'd', 't', [one.stream]), one.message)
      if (ticket === 0) this.#refused.push(one)
      else one.entry.isDurable = () => appender.durableTicket >= ticket
    }
  }

  /** The spool begins its commits itself; they end when the model says so. */
  beginCommit(): void {}

  endCommit(): void {
    this.#generation.release()
  }

  async idle(): Promise<void> {
    const { committer } = this.#spool
    for (let quiet = 0; quiet < QUIET_TURNS; ) {
      await new Promise((resolve) => setImmediate(resolve))
      const { busy, isHeld } = this.#generation
      const commits = committer.runningMs !== null && !isHeld
      // Nothing but a lease that is being raised keeps them, and its fsync takes as long as the
      // disk does.
      const raises = this.#refused.length > 0 && !isHeld
      quiet = commits || raises || busy > 0 ? 0 : quiet + 1
    }
    if (this.#ledger.failure !== null) throw this.#ledger.failure
    this.#staged = this.#staged.filter((entry) => !entry.isDurable())
  }

  async crash(): Promise<ModelSpool> {
    this.#endBackground()
    await this.#generation.crash()
    return await openRealSpool(this.#ledger, this.#names)
  }

  /**
   * What works on files beside the store; waiting for it would wait for reads that nobody answers
   * any more.
   */
  #endBackground(): void {
    this.#spool.disk.stop()
    this.#spool.verifier.stop().catch(() => undefined)
  }

  async close(): Promise<void> {
    this.#endBackground()
    await this.#generation.crash()
  }

  view(name: string): ModelView {
    const spool = this.#queue(name).spool
    const { state, index } = spool
    const pending: number[] = []
    const add = (identity: number, seq: number): void => {
      pending.push(this.#ledger.reading(state.identities[identity]?.spoolId ?? '', name, seq))
    }
    for (const { identity, seq } of state.front) add(identity, seq)
    let skip = state.head.index
    for (let at = unskipped(state, state.head.ordinal); ; at = unskipped(state, at + 1)) {
      const meta = index.at(at)
      if (!meta) break
      for (let i = skip; i < meta.count; i++) add(meta.identity, meta.firstSeq + i)
      skip = 0
    }
    assert.equal(pending.length, spool.pendingRecords, `${name}: pendingRecords`)
    return {
      staged: this.#staged.filter(({ stream }) => stream === name).map(({ n }) => n),
      pending,
      parked: state.parked.map(({ identity, seq }) => {
        return this.#ledger.reading(state.identities[identity]?.spoolId ?? '', name, seq)
      }),
      deadLetters: [...this.#letters(name), ...this.#dying]
        .filter(({ stream }) => stream === name)
        .map(({ n }) => n),
    }
  }

  requeue(stream: string): boolean {
    const letter = this.#letters(stream).find(({ id }) => !this.#requeueing.has(id))
    if (!letter) return false
    const { id, n } = letter
    let done = false
    const entry: Waiting = { stream, n, isDurable: () => done }
    this.#requeueing.add(id)
    this.#staged.push(entry)
    const requeued = this.#whenReadable(() => this.#spool.deadLetters.requeue(stream, [id]))
    void this.#generation.alive(requeued).then((result) => {
      assert.equal(result.requeued, 1)
      done = true
    })
    return true
  }

  /**
   * A read fails while the store is reopened after a rejected write; whoever reads tries again
   * later.
   */
  async #whenReadable<T>(read: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await read()
      } catch (error) {
        if (!this.#spool.committer.failing || this.#generation.dead) throw error
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
  }

  /** Retention drops whole blocks: only one with a single record will do. */
  dropOldest(name: string): number | null {
    const commit = this.#commit
    if (!commit) return null
    const { spool } = this.#queue(name)
    const { state, index } = spool
    const { end } = pinnedBlocks(state, index)
    const from = spool.isPinGuarded ? end : state.head.ordinal
    const [doomed] = doomedBlocks(state, index, from, (_, freedBytes) => freedBytes === 0)
    if (doomed?.count !== 1) return null
    if (doomed.ordinal < end) spool.dissolveUnsentPin()
    const { spoolId } = spool.state.identities[doomed.meta.identity] ?? { spoolId: '' }
    const n = this.#ledger.reading(spoolId, name, doomed.firstSeq)
    spool.drop([doomed], 'dropped-oldest', commit)
    return n
  }

  newIdentity(): void {
    void this.#generation.alive(this.#spool.newId('the model wants one'))
    this.#ledger.shown(
      this.#spool.streams.get(this.#names[0] ?? '')?.state.identities.at(-1)?.spoolId ?? '',
    )
  }

  durableHead(): undefined {
    return undefined
  }

  onDeadLetter(listener: Parameters<ModelSpool['onDeadLetter']>[0]): void {
    this.#onDeadLetter = listener
  }

  #letters(stream: string): Letter[] {
    const keys = [...this.#ledger.letters.keys()].toSorted()
    return keys
      .flatMap((key) => this.#ledger.letters.get(key) ?? [])
      .filter((one) => one.stream === stream)
  }

  #queue(name: string): SpoolQueue {
    const queue = this.#spool.queues.find(({ stream }) => stream === name)
    assert(queue, `no stream ${name}`)
    return queue
  }

  /** The queue with spool ids as the model sees them, and nothing of it that outlives a kill. */
  #asSeen(queue: SpoolQueue): StreamQueue {
    const ledger = this.#ledger
    const generation = this.#generation
    const seen = <T extends { readonly spoolId: string }>(one: T): T => {
      return { ...one, spoolId: ledger.shown(one.spoolId) }
    }
    const unseen = <T extends { readonly spoolId: string }>(one: T): T => {
      return { ...one, spoolId: ledger.real(one.spoolId) }
    }
    const pinned = (made: {
      pin: Pin
      durable: Promise<void>
    }): { pin: Pin; durable: Promise<void> } => {
      return { pin: seen(made.pin), durable: generation.alive(made.durable) }
    }
    const load = async (encoder: BatchEncoder): Promise<LoadedBatch | null> => {
      const { pin } = queue
      assert(pin)
      const loaded = await this.#whenReadable(() => queue.load(pin, encoder))
      if (!loaded) return null
      const line = (seq: number): Promise<Uint8Array> =>
        generation.alive(generation.count(loaded.line(seq)))
      const gaps = loaded.batch.gaps.map(seen)
      const batch = { ...seen(loaded.batch), gaps }
      return { ...loaded, pin: seen(loaded.pin), batch, line }
    }
    return {
      stream: queue.stream,
      priority: queue.priority,
      sink: queue.sink,
      isAwaited: queue.isAwaited,
      ahead: (limit) => queue.ahead(limit).map(seen),
      get pendingRecords() {
        return queue.pendingRecords
      },
      get pendingBytes() {
        return queue.pendingBytes
      },
      maxBatchBytes: queue.maxBatchBytes,
      get pin() {
        return queue.pin && seen(queue.pin)
      },
      pinWithCommits: (plan, of, limits) => queue.pinWithCommits(plan, of, limits),
      awaitPin: () => queue.awaitPin(),
      expirePin: () => null,
      guardPin: (isGuarded) => queue.guardPin(isGuarded),
      get parked() {
        return queue.parked.map(seen)
      },
      highestSentSeq: (spoolId) => queue.highestSentSeq(ledger.real(spoolId)),
      pinBatch: (bounds, encoder, limits) =>
        pinned(queue.pinBatch(unseen(bounds), encoder, limits)),
      reencode: (encoder) => pinned(queue.reencode(encoder)),
      split: (first) => pinned(queue.split(unseen(first))),
      load: (_, encoder) => generation.alive(generation.count(load(encoder))),
      settle: (settlement) => {
        const dying = this.#dead(queue, settlement)
        for (const one of dying) this.#dying.add(one)
        const deadLetterEarlier = settlement.deadLetterEarlier?.map(unseen) ?? []
        return generation.alive(queue.settle({ ...settlement, deadLetterEarlier })).then(() => {
          for (const one of dying) this.#dying.delete(one)
        })
      },
      returnParked: () => generation.alive(queue.returnParked()),
      deadLetterBytes: (refusal) => queue.deadLetterBytes(refusal),
      hasDeadLetterRoom: (bytes, letters) => queue.hasDeadLetterRoom(bytes, letters),
      // Its streams have room for all dead letters: none is left over.
      bury: (records) => generation.alive(queue.bury(records.map(unseen))),
      onReady: (listener) => {
        queue.onReady(() => {
          if (!generation.dead) listener?.()
        })
      },
    }
  }

  /** Tells the model what a settlement makes a dead letter of. */
  #dead({ stream, pin }: SpoolQueue, settlement: Settlement): { stream: string; n: number }[] {
    if (this.#generation.dead) return []
    assert(pin)
    const shown = this.#ledger.shown(pin.spoolId)
    const all = [
      ...(settlement.deadLetterEarlier ?? []),
      ...settlement.deadLetter.map((seq) => ({ spoolId: shown, seq })),
    ]
    return all.map(({ spoolId, seq }) => {
      const n = this.#ledger.reading(this.#ledger.real(spoolId), stream, seq)
      this.#onDeadLetter(stream, spoolId, seq, n)
      return { stream, n }
    })
  }
}

async function openRealSpool(
  ledger: DiskLedger,
  names: readonly string[],
): Promise<RealModelSpool> {
  const generation = new Generation(ledger)
  const streams = names.map((name, priority): [string, StreamConfig] => {
    // One whose batches are pinned by the commits of their records, beside those that the drain pins.
    const ack = priority === 0 ? 'delivered' : 'spooled'
    return [name, { ...STREAM, topics: [`${name}/#`], priority, ack }]
  })
  const spool = await Spool.open({
    dataDir: ledger.folder,
    gatewayId: 'edge-01',
    hostName: 'edge-01',
    streams: Object.fromEntries(streams),
    sinks: { cloud: { ...SINK, maxBatchRecords: 6 } },
    config: spoolConfig({ commitInterval: 0, commitBurst: 1_000_000 }),
    emit: () => undefined,
    openStore: (path, options) => generation.open(path, options),
    takeOwnership: unowned,
    ballastBytes: 4096,
    leaseAhead: 40,
    nowMs: () => ledger.clock.wallMs(),
    clock: ledger.clock,
  })
  assert.deepEqual(spool.damage, [])
  generation.opened()
  return new RealModelSpool(spool, ledger, generation, names)
}

/** A fresh spool for one run. `close` when the run is over, also after a failure. */
export async function newRealSpools(seed: number): Promise<{
  readonly open: (clock: VirtualClock, streams: readonly string[]) => Promise<ModelSpool>
  readonly close: () => Promise<void>
  readonly rejected: DiskLedger['rejected']
}> {
  const folder = await temporaryFolder()
  const opened: RealModelSpool[] = []
  const rejected = { before: 0, after: 0 }
  return {
    open: async (clock, streams) => {
      const spool = await openRealSpool(new DiskLedger(folder.path, clock, seed, rejected), streams)
      opened.push(spool)
      return spool
    },
    close: async () => {
      for (const spool of opened) await spool.close()
      await folder.remove()
    },
    rejected,
  }
}
