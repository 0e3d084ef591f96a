/**
 * What can happen to the files of a spool (I7): a seeded choice of damage to the bytes and files of
 * a data folder. Each says in words what it did, and whether it did anything at all.
 */
import {
  cp,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import type { Random } from '../../../device-sim/random.ts'

export const DAMAGES = [
  'flip',
  'zero',
  'garbage',
  'truncate',
  'empty',
  'delete',
  'duplicate',
  'swap',
  'grow',
  'insert',
  'old-copy',
  'stray-file',
  'stray-folder',
  'delete-folder',
  'false-clean-mark',
] as const
export type Damage = (typeof DAMAGES)[number]

export interface Done {
  readonly damage: Damage
  readonly what: string
}

/** How often each kind of file is chosen. */
const WEIGHTS: ReadonlyArray<readonly [pattern: RegExp, weight: number]> = [
  [/^spool\/\d+\.ldb$/, 6],
  [/^spool\/\d+\.log$/, 8],
  [/^spool\/MANIFEST-/, 5],
  [/^spool\/CURRENT$/, 4],
  [/^seq-lease$/, 5],
  [/^ballast$/, 1],
  [/^owner\.json$/, 1],
  [/^clean-stop$/, 2],
  [/./, 1],
]

/** A kind first, then one of its files: many tables must not crowd out the rest. */
function chooseFile(random: Random, files: readonly string[]): string | null {
  const kinds = WEIGHTS.map(([pattern, weight], i) => {
    const others = WEIGHTS.slice(0, i).map(([p]) => p)
    const own = files.filter(
      (file) => pattern.test(file) && !others.some((other) => other.test(file)),
    )
    return { own, weight }
  }).filter(({ own }) => own.length > 0)
  let at = random.below(kinds.reduce((sum, { weight }) => sum + weight, 0))
  for (const { own, weight } of kinds) {
    if (at < weight) return own[random.below(own.length)] ?? null
    at -= weight
  }
  return null
}

export async function listFiles(dataDir: string): Promise<string[]> {
  const entries = await readdir(dataDir, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dataDir, join(entry.parentPath, entry.name)))
    .sort()
}

function garbage(random: Random, bytes: number): Buffer {
  return Buffer.from(Array.from({ length: bytes }, () => random.below(256)))
}

/** A range of a file; small ones and whole pages alike. */
function range(random: Random, size: number): { readonly at: number; readonly bytes: number } {
  const longest = [4, 64, 512, 4096, 32_768][random.below(5)] ?? 4
  const at = random.below(Math.max(1, size))
  return { at, bytes: Math.min(size - at, 1 + random.below(longest)) }
}

/** Changes bytes in place: the file keeps its inode, as under a store that has it open. */
export async function changeBytes(
  path: string,
  how: 'flip' | 'zero' | 'garbage',
  random: Random,
  within: readonly [from: number, to: number] | null = null,
): Promise<string | null> {
  const { size } = await stat(path)
  const [from, to] = within ?? [0, size]
  if (to <= from) return null
  const { at: inside, bytes } = range(random, to - from)
  const at = from + inside
  const file = await open(path, 'r+')
  try {
    const old = Buffer.alloc(bytes)
    await file.read(old, 0, bytes, at)
    const fresh =
      how === 'zero'
        ? Buffer.alloc(bytes)
        : how === 'garbage'
          ? garbage(random, bytes)
          : Buffer.from(old)
    if (how === 'flip') {
      for (let n = 1 + random.below(3); n > 0; n--) {
        const i = random.below(bytes)
        fresh[i] = (fresh[i] as number) ^ (1 << random.below(8))
      }
    }
    await file.write(fresh, 0, bytes, at)
    return fresh.equals(old) ? null : `${how} of ${bytes} bytes at ${at} of ${size}`
  } finally {
    await file.close()
  }
}

interface Target {
  readonly dataDir: string
  /** The same folder as it was before. */
  readonly early: string
  readonly random: Random
  readonly files: readonly string[]
  readonly name: string
  readonly path: string
}

/** What was done, in words; null: there was nothing to damage in this way. */
type Way = (target: Target) => Promise<string | null>

const BYTES: Readonly<
  Record<'flip' | 'zero' | 'garbage' | 'truncate' | 'empty' | 'grow' | 'insert', Way>
> = {
  flip: ({ path, random }) => changeBytes(path, 'flip', random),
  zero: ({ path, random }) => changeBytes(path, 'zero', random),
  garbage: ({ path, random }) => changeBytes(path, 'garbage', random),
  truncate: async ({ path, random }) => {
    const { size } = await stat(path)
    if (size === 0) return null
    const left = random.chance(0.5) ? Math.max(0, size - 1 - random.below(200)) : random.below(size)
    await truncate(path, left)
    return `${left} of ${size} bytes are left`
  },
  empty: async ({ path }) => {
    if ((await stat(path)).size === 0) return null
    await truncate(path, 0)
    return 'no byte is left'
  },
  grow: async ({ path, random }) => {
    const bytes = 1 + random.below(5_000)
    await writeFile(path, random.chance(0.3) ? Buffer.alloc(bytes) : garbage(random, bytes), {
      flag: 'a',
    })
    return `${bytes} bytes more`
  },
  insert: async ({ path, random }) => {
    const old = await readFile(path)
    const at = random.below(old.length + 1)
    const more = garbage(random, 1 + random.below(300))
    await writeFile(path, Buffer.concat([old.subarray(0, at), more, old.subarray(at)]))
    return `${more.length} bytes at ${at} of ${old.length}`
  },
}

/** False: an earlier damage put a file in the folder's place. */
async function canHoldFiles(folder: string): Promise<boolean> {
  await mkdir(folder, { recursive: true }).catch(() => undefined)
  return (await stat(folder)).isDirectory()
}

const STRAY_FILES = [
  'spool/000999.ldb',
  'spool/000999.log',
  'spool/MANIFEST-000999',
  'spool/000998.dbtmp',
  'aside/x',
  'x',
]

const FILES: Readonly<Record<Exclude<Damage, keyof typeof BYTES>, Way>> = {
  delete: async ({ path }) => {
    await rm(path)
    return 'it is gone'
  },
  duplicate: async ({ dataDir, name, path, random }) => {
    const copy = duplicateName(name, random)
    if (copy === name) return null
    await cp(path, join(dataDir, copy))
    return `copied to ${copy}`
  },
  swap: async ({ dataDir, files, name, path, random }) => {
    const others = files.filter((other) => other !== name && kindOf(other) === kindOf(name))
    const other = others[random.below(others.length)]
    if (other === undefined) return null
    await rename(path, `${path}.swap`)
    await rename(join(dataDir, other), path)
    await rename(`${path}.swap`, join(dataDir, other))
    return `swapped with ${other}`
  },
  'old-copy': async ({ dataDir, early, random }) => {
    const chosen = chooseFile(random, await listFiles(early))
    if (chosen === null || !(await canHoldFiles(dirname(join(dataDir, chosen))))) return null
    // An earlier damage may have made a folder of it.
    await rm(join(dataDir, chosen), { recursive: true, force: true })
    await cp(join(early, chosen), join(dataDir, chosen))
    return `${chosen} is as it was before`
  },
  'stray-file': async ({ dataDir, random }) => {
    const chosen = STRAY_FILES[random.below(STRAY_FILES.length)] ?? 'x'
    if (!(await canHoldFiles(dirname(join(dataDir, chosen))))) return null
    await rm(join(dataDir, chosen), { recursive: true, force: true })
    await writeFile(join(dataDir, chosen), garbage(random, random.below(3_000)))
    return `${chosen} beside it`
  },
  'stray-folder': async ({ path }) => {
    await rm(path)
    await mkdir(join(path, 'inside'), { recursive: true })
    return 'a folder now'
  },
  'delete-folder': async ({ dataDir, random }) => {
    const folder = random.chance(0.5) ? 'spool' : 'aside'
    await rm(join(dataDir, folder), { recursive: true, force: true })
    if (random.chance(0.3)) await writeFile(join(dataDir, folder), 'a file')
    return `all of ${folder}`
  },
  'false-clean-mark': async ({ dataDir }) => {
    const text = 'The spool was closed cleanly and nobody has opened it since.\n'
    await writeFile(join(dataDir, 'clean-stop'), text)
    return 'it looks stopped'
  },
}

/** null: there was nothing to damage in this way. */
export async function damage(
  dataDir: string,
  early: string,
  kind: Damage,
  random: Random,
): Promise<Done | null> {
  const files = await listFiles(dataDir)
  const name = chooseFile(random, files)
  if (name === null) return null
  const way: Way = { ...BYTES, ...FILES }[kind]
  const what = await way({ dataDir, early, random, files, name, path: join(dataDir, name) })
  return what === null ? null : { damage: kind, what: `${kind} ${name}: ${what}` }
}

function kindOf(name: string): string {
  return name.replace(/\d+/, '')
}

function duplicateName(name: string, random: Random): string {
  const number = String(1 + random.below(40)).padStart(6, '0')
  return /\d{6}/.test(name) ? name.replace(/\d{6}/, number) : `${name}.copy`
}
