/**
 * What a power cut leaves of a folder, from a journal of what was done to it.
 *
 * The model is stricter than any file system that the gateway runs on (ext4, xfs and btrfs keep
 * more):
 *
 * - An fsync of a file makes what was written to it before the call durable, and nothing else: not
 *   its name, not the name of its folder. An fsync that failed makes nothing durable, and what it
 *   should have covered is lost for good, whatever a later one says (Linux marks the pages clean).
 * - An fsync of a folder makes the entries durable that were made, moved or removed in it before
 *   the call.
 * - What is not durable may survive all the same: of a folder, a prefix of its changes in their
 *   order, each folder for itself (a move between two folders is one step of both); of a file, a
 *   prefix of its writes, the last one torn anywhere, or any of its writes, with zeros for what is
 *   missing.
 * - An fsync counts behind its return; what is written while it runs is not covered.
 *
 * Hard links stay hard links.
 */
import {
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { Random } from '../../../device-sim/random.ts'
import type { Entry } from './journal.ts'

/** How much of what is not durable survives. `holes`: each write of a file for itself. */
export const SURVIVALS = ['none', 'all', 'some', 'holes'] as const
export type Survival = (typeof SURVIVALS)[number]

interface FileChange {
  readonly at: number
  /** null: the file is cut to `offset`, or grows to it with zeros. */
  readonly bytes: Buffer | null
  readonly offset: number
  state: 'written' | 'durable' | 'lost'
}

class FileNode {
  readonly changes: FileChange[] = []
}

/** One change of names. A move between two folders stands in the lists of both. */
interface NameChange {
  readonly at: number
  readonly remove: ReadonlyArray<readonly [folder: FolderNode, name: string]>
  readonly add: readonly [folder: FolderNode, name: string, node: Node] | null
}

class FolderNode {
  readonly base = new Map<string, Node>()
  readonly live = new Map<string, Node>()
  readonly changes: NameChange[] = []
  durable = 0
}

type Node = FileNode | FolderNode

export class DiskModel {
  readonly #root: string
  readonly #top = new FolderNode()
  readonly #byIno = new Map<bigint, Node>()
  readonly #syncs = new Map<bigint, { readonly node: Node; readonly at: number }>()
  #at = 0

  /**
   * `root`: the recorded folder. `base`: a copy of what was in it, durable, when the recording began.
   */
  constructor(root: string, base: Snapshot) {
    this.#root = root
    this.#load(this.#top, base)
  }

  #load(folder: FolderNode, base: Snapshot): void {
    this.#byIno.set(base.ino, folder)
    for (const [name, entry] of base.entries) {
      let node = this.#byIno.get(entry.ino)
      if (node === undefined) {
        if (entry.bytes === null) this.#load((node = new FolderNode()), entry)
        else {
          node = new FileNode()
          node.changes.push({ at: -1, bytes: entry.bytes, offset: 0, state: 'durable' })
          this.#byIno.set(entry.ino, node)
        }
      }
      folder.base.set(name, node)
      folder.live.set(name, node)
    }
  }

  /** The next entry of the journal has happened. */
  apply(entry: Entry): void {
    const at = this.#at++
    if (entry.type === 'create') {
      const node = entry.isFolder ? new FolderNode() : new FileNode()
      this.#byIno.set(entry.ino, node)
      this.#names({ at, remove: [], add: [...this.#place(entry.path), node] })
    } else if (entry.type === 'write') {
      this.#file(entry.ino)?.changes.push({
        at,
        bytes: entry.bytes,
        offset: entry.offset,
        state: 'written',
      })
    } else if (entry.type === 'truncate') {
      this.#file(entry.ino)?.changes.push({ at, bytes: null, offset: entry.size, state: 'written' })
    } else if (entry.type === 'rename') {
      const from = this.#place(entry.from)
      this.#names({ at, remove: [from], add: [...this.#place(entry.to), this.#node(from)] })
    } else if (entry.type === 'link') {
      const from = this.#place(entry.from)
      this.#names({ at, remove: [], add: [...this.#place(entry.to), this.#node(from)] })
    } else if (entry.type === 'unlink' || entry.type === 'rmdir') {
      this.#names({ at, remove: [this.#place(entry.path)], add: null })
    } else if (entry.type === 'sync-begin') {
      const node = this.#byIno.get(entry.ino)
      if (node) this.#syncs.set(entry.id, { node, at })
    } else if (entry.type === 'sync-end') {
      const sync = this.#syncs.get(entry.id)
      this.#syncs.delete(entry.id)
      if (sync) synced(sync.node, sync.at, entry.failed)
    }
  }

  /**
   * Another process begins: what the one before did not finish stays unfinished, and its fsync ids
   * come again.
   */
  restart(): void {
    this.#syncs.clear()
  }

  /** Writes what the disk holds after a power cut now into `target`, which must not exist. */
  rebuild(target: string, survival: Survival, random: Random): void {
    const kept = keptChanges(allFolders(this.#top), survival, random)
    const written = new Map<FileNode, string>()
    const contents = new Map<FileNode, Buffer>()
    const write = (folder: FolderNode, path: string): void => {
      mkdirSync(path)
      for (const [name, node] of namesOf(folder, kept.get(folder) ?? 0)) {
        const here = join(path, name)
        if (node instanceof FolderNode) {
          write(node, here)
          continue
        }
        const elsewhere = written.get(node)
        if (elsewhere !== undefined) linkSync(elsewhere, here)
        else {
          const bytes = contents.get(node) ?? contentOf(node, survival, random)
          contents.set(node, bytes)
          writeWhole(here, bytes)
          written.set(node, here)
        }
      }
    }
    write(this.#top, target)
  }

  #names(change: NameChange): void {
    const folders = new Set(change.remove.map(([folder]) => folder))
    for (const [folder, name] of change.remove) folder.live.delete(name)
    if (change.add) {
      const [folder, name, node] = change.add
      folder.live.set(name, node)
      folders.add(folder)
    }
    for (const folder of folders) folder.changes.push(change)
  }

  #file(ino: bigint): FileNode | null {
    const node = this.#byIno.get(ino)
    return node instanceof FileNode ? node : null
  }

  #node([folder, name]: readonly [FolderNode, string]): Node {
    const node = folder.live.get(name)
    if (!node) throw new Error(`the journal names ${name}, which was never made`)
    return node
  }

  #place(path: string): readonly [FolderNode, string] {
    let folder: FolderNode = this.#top
    const parent = dirname(path)
    if (parent !== this.#root) {
      for (const name of parent.slice(this.#root.length + 1).split('/')) {
        const next = folder.live.get(name)
        if (!(next instanceof FolderNode))
          throw new Error(`the journal names ${path}, outside of any folder`)
        folder = next
      }
    }
    return [folder, basename(path)]
  }
}

function synced(node: Node, beginAt: number, failed: boolean): void {
  if (node instanceof FolderNode) {
    if (!failed)
      node.durable = Math.max(node.durable, node.changes.filter(({ at }) => at < beginAt).length)
    return
  }
  for (const change of node.changes) {
    if (change.at < beginAt && change.state === 'written')
      change.state = failed ? 'lost' : 'durable'
  }
}

/** Every folder that any order of survival can show. */
function allFolders(top: FolderNode): FolderNode[] {
  const found = new Set<FolderNode>([top])
  for (const folder of found) {
    for (const node of folder.base.values()) if (node instanceof FolderNode) found.add(node)
    for (const { add } of folder.changes) if (add?.[2] instanceof FolderNode) found.add(add[2])
  }
  return [...found]
}

/**
 * How many changes of each folder survive. A move between two folders survives in both or in none.
 */
function keptChanges(
  folders: readonly FolderNode[],
  survival: Survival,
  random: Random,
): Map<FolderNode, number> {
  const kept = new Map<FolderNode, number>()
  for (const folder of folders) {
    const open = folder.changes.length - folder.durable
    const more = survival === 'none' ? 0 : survival === 'all' ? open : random.below(open + 1)
    kept.set(folder, folder.durable + more)
  }
  for (let changed = true; changed; ) {
    changed = false
    for (const [folder, count] of kept) {
      for (const change of folder.changes.slice(0, count)) {
        for (const other of foldersOf(change)) {
          const needed = other.changes.indexOf(change) + 1
          if ((kept.get(other) ?? 0) >= needed) continue
          kept.set(other, needed)
          changed = true
        }
      }
    }
  }
  return kept
}

function foldersOf({ remove, add }: NameChange): FolderNode[] {
  return add ? [...remove.map(([folder]) => folder), add[0]] : remove.map(([folder]) => folder)
}

function namesOf(folder: FolderNode, count: number): Map<string, Node> {
  const names = new Map(folder.base)
  for (const { remove, add } of folder.changes.slice(0, count)) {
    for (const [where, name] of remove) if (where === folder) names.delete(name)
    if (add?.[0] === folder) names.set(add[1], add[2])
  }
  return names
}

function contentOf(file: FileNode, survival: Survival, random: Random): Buffer {
  const open = file.changes.filter(({ state }) => state === 'written').length
  const whole = survival === 'all' ? open : survival === 'some' ? random.below(open + 1) : 0
  const content = new Content(file.changes)
  let seen = 0
  for (const change of file.changes) {
    if (change.state === 'durable') content.apply(change)
    // Of what is lost the size may have reached the disk.
    else if (change.state === 'lost') content.grow(survival === 'none' ? 0 : endOf(change))
    else if (survival === 'holes') {
      if (random.chance(0.5)) content.apply(change)
      else if (change.bytes !== null) content.grow(endOf(change))
    } else {
      seen++
      if (seen <= whole) content.apply(change)
      else if (survival === 'some' && seen === whole + 1) content.apply(change, random.next())
    }
  }
  return content.bytes
}

function endOf({ bytes, offset }: FileChange): number {
  return offset + (bytes?.length ?? 0)
}

/** A file's bytes as they come to be; what was never written is zeros. */
class Content {
  readonly #room: Buffer
  #size = 0

  constructor(changes: readonly FileChange[]) {
    this.#room = Buffer.alloc(changes.reduce((most, change) => Math.max(most, endOf(change)), 0))
  }

  get bytes(): Buffer {
    return this.#room.subarray(0, this.#size)
  }

  grow(size: number): void {
    this.#size = Math.max(this.#size, size)
  }

  /** `share` of the bytes; of a size all or nothing. */
  apply({ bytes, offset }: FileChange, share = 1): void {
    if (bytes === null) {
      if (share < 1) return
      if (offset < this.#size) this.#room.fill(0, offset, this.#size)
      this.#size = offset
      return
    }
    const part = bytes.subarray(0, Math.floor(bytes.length * share))
    if (part.length === 0) return
    part.copy(this.#room, offset)
    this.grow(offset + part.length)
  }
}

function writeWhole(path: string, bytes: Buffer): void {
  const file = openSync(path, 'wx', 0o600)
  ftruncateSync(file, 0)
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
  closeSync(file)
}

export interface Snapshot {
  readonly ino: bigint
  /** null: a folder. */
  readonly bytes: Buffer | null
  readonly entries: ReadonlyMap<string, Snapshot>
}

/** A folder as it is now, every byte of it. `skip`: files whose bytes nobody reads. */
export function snapshot(path: string, skip: (name: string) => boolean): Snapshot {
  const stats = lstatSync(path, { bigint: true })
  if (!stats.isDirectory()) {
    const bytes = skip(basename(path)) ? Buffer.alloc(0) : readFileSync(path)
    return { ino: stats.ino, bytes, entries: new Map() }
  }
  // A socket ends with its process, and holds nothing.
  const names = readdirSync(path, { withFileTypes: true })
    .filter((entry) => !entry.isSocket())
    .map(({ name }) => name)
    .toSorted()
  return {
    ino: stats.ino,
    bytes: null,
    entries: new Map(names.map((name) => [name, snapshot(join(path, name), skip)])),
  }
}

/** LevelDB's LOG and the ballast: not recorded, and read by nobody. */
export function isWithoutContent(name: string): boolean {
  return name === 'LOG' || name === 'LOG.old' || name.startsWith('ballast')
}

/** Differences in names and bytes, in words. Inodes do not count. */
export function differences(a: Snapshot, b: Snapshot, path = ''): string[] {
  if (a.bytes !== null && b.bytes !== null) {
    return a.bytes.equals(b.bytes)
      ? []
      : [`${path}: ${a.bytes.length} bytes, ${b.bytes.length} bytes`]
  }
  if (a.bytes !== null || b.bytes !== null) return [`${path}: a file and a folder`]
  const found: string[] = []
  for (const name of new Set([...a.entries.keys(), ...b.entries.keys()])) {
    const [one, other] = [a.entries.get(name), b.entries.get(name)]
    const here = `${path}/${name}`
    if (!one || !other) found.push(`${here}: only in ${one ? 'the first' : 'the second'}`)
    else found.push(...differences(one, other, here))
  }
  return found
}
