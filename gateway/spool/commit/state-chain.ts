/**
 * The chain of state records: which number the next commit has, when its record is a checkpoint,
 * and which records of the past may go. Plain numbers; what they say is written by closed-commit.ts
 * and read back by opening/recovery.ts.
 */
import type { RecoveredState } from '../opening/recovery.ts'
import { MAX_BLOCK_INDEX } from '../store/keys.ts'

/**
 * A checkpoint comes after so many state records, or when their bytes pass its own size and this.
 */
const CHECKPOINT_COMMITS = 1_000
const CHECKPOINT_BYTES = 64 * 1024
/** State records that one commit deletes at the most. */
const MAX_OBSOLETE_STATES = 64
/**
 * Of the blocks' bytes: above, the state records between two checkpoints do not wait for the
 * backlog to be drained.
 */
const MAX_STATE_SHARE = 0.25

/** How the state record of one commit hangs in the chain. */
export interface ChainLink {
  readonly commit: number
  /** Commit of the record before; 0: none. */
  readonly previous: number
  readonly checkpoint: boolean
  /** State records below this commit are deleted, with this commit. */
  readonly firstState: number
  /** Those that this commit deletes. */
  readonly obsolete: readonly number[]
}

export class StateChain {
  #nextCommit: number
  #previous: number
  /** State records since the last checkpoint, that one included. */
  #commits: number
  #bytes = 0
  /** Stored bytes of the blocks that came with them. */
  #blockBytes = 0
  #checkpointCommit: number
  #checkpointBytes = 0
  #checkpointDue = true
  /** State records in the midst of a backlog that are to go all the same: [from, to). */
  #misplaced: readonly [from: number, to: number] = [0, 0]
  /** No state record below this one is left in the store. */
  #firstState: number
  /**
   * Blocks that were found in damaged files go under the highest indices of a commit: no commit has
   * so many.
   */
  #foundIndex = MAX_BLOCK_INDEX

  constructor(recovered: RecoveredState | null) {
    this.#nextCommit = (recovered?.lastCommit ?? 0) + 1
    this.#previous = recovered?.stateCommit ?? 0
    this.#commits = recovered?.chainCommits ?? 0
    this.#checkpointCommit = recovered?.checkpointCommit ?? 0
    this.#firstState = recovered?.firstState ?? this.#nextCommit
  }

  /** Number that the next commit gets. */
  get nextCommit(): number {
    return this.#nextCommit
  }

  /** Number of the newest commit that is stored. */
  get lastStored(): number {
    return this.#previous
  }

  /** The next commit is a checkpoint. */
  checkpointNext(): void {
    this.#checkpointDue = true
  }

  /** Where a block that was found in damaged files is stored. null: there are too many. */
  placeFound(): { readonly commit: number; readonly index: number } | null {
    if (this.#foundIndex <= MAX_BLOCK_INDEX / 2) return null
    return { commit: this.#previous, index: this.#foundIndex-- }
  }

  /** The next commit is closed. `oldestBlock`: commit of the oldest block that is still needed. */
  next(oldestBlock: number): ChainLink {
    const checkpoint =
      this.#checkpointDue ||
      this.#commits >= CHECKPOINT_COMMITS ||
      this.#bytes > this.#checkpointBytes + CHECKPOINT_BYTES
    const commit = this.#nextCommit++
    return { commit, previous: this.#previous, checkpoint, ...this.#obsolete(oldestBlock) }
  }

  /**
   * State records that a checkpoint replaced, a few per commit. Those among the blocks of a backlog
   * stay until it is drained: deleting them there makes every flushed table overlap with old ones,
   * and LevelDB merge them all. But where commits are so small that these records take a good part
   * of the disk, that is worth it.
   */
  #obsolete(oldestBlock: number): Pick<ChainLink, 'firstState' | 'obsolete'> {
    const end = Math.min(this.#checkpointCommit, oldestBlock)
    const settled = Math.max(0, Math.min(MAX_OBSOLETE_STATES, end - this.#firstState))
    const firstState = this.#firstState + settled
    const obsolete = Array.from({ length: settled }, (_, i) => this.#firstState + i)
    const [from, to] = [Math.max(this.#misplaced[0], firstState), this.#misplaced[1]]
    const misplaced = Math.max(0, Math.min(MAX_OBSOLETE_STATES - settled, to - from))
    obsolete.push(...Array.from({ length: misplaced }, (_, i) => from + i))
    // Where the commit fails they stay until the backlog is drained.
    this.#misplaced = [from + misplaced, to]
    return { firstState, obsolete }
  }

  /** The commit is in the store, with a state record and blocks of so many bytes. */
  stored(link: ChainLink, stateBytes: number, blockBytes: number): void {
    this.#previous = link.commit
    this.#firstState = link.firstState
    if (link.checkpoint) {
      const isMisplaced = this.#bytes > this.#blockBytes * MAX_STATE_SHARE
      if (isMisplaced) this.#misplaced = [this.#checkpointCommit, link.commit]
      this.#checkpointCommit = link.commit
      this.#checkpointBytes = stateBytes
      this.#checkpointDue = false
      this.#commits = 1
      this.#bytes = 0
      this.#blockBytes = blockBytes
    } else {
      this.#commits++
      this.#bytes += stateBytes
      this.#blockBytes += blockBytes
    }
  }
}
