/**
 * A client library that one type of sink needs and the gateway comes without. It is loaded when
 * such a sink is configured. Without it the gateway starts and keeps everything (I7, I8): what is
 * missing and the command that installs it is said by `sluice check`, at the start, and by the hold
 * of each batch.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { errorCode } from '../shared/errors.ts'

interface Wanted {
  /** As npm knows it. */
  readonly name: string
  /** The version that this gateway was tested with. */
  readonly version: string
  /** Oldest Node that it runs on, `22.22`; absent: the gateway's own. */
  readonly node?: string
}

interface Surroundings {
  /** @default that of this process, `20.19.0` */
  readonly nodeVersion?: string
  /** The module that it is looked up from. @default this one */
  readonly from?: string
  /** The program that runs it. @default this process's */
  readonly node?: string
}

export class OptionalPackage<Module> {
  readonly #wanted: Wanted
  readonly #nodeVersion: string
  readonly #from: string
  readonly #node: string
  #wasFound = false

  constructor(wanted: Wanted, surroundings: Surroundings = {}) {
    this.#wanted = wanted
    this.#nodeVersion = surroundings.nodeVersion ?? process.versions.node
    this.#from = surroundings.from ?? import.meta.url
    this.#node = surroundings.node ?? process.execPath
  }

  /** What keeps it from being used, and what to do; null: nothing. Looks anew until it is there. */
  get fault(): string | null {
    if (this.#wasFound) return null
    const { name, node } = this.#wanted
    if (node !== undefined && isOlder(this.#nodeVersion, node))
      return `${name} needs Node ${node} or newer, this one is ${this.#nodeVersion}: run the gateway with a newer Node, then ${this.#command}`
    this.#wasFound = this.#isInstalled()
    return this.#wasFound ? null : `${name} is not installed: ${this.#command}`
  }

  /** @throws Error with {@link fault} as its message */
  async load(): Promise<Module> {
    const { fault } = this
    if (fault !== null) throw new Error(fault)
    return (await import(this.#wanted.name)) as Module
  }

  /** As npm takes it, `pg@8.23.1`. */
  get spec(): string {
    return `${this.#wanted.name}@${this.#wanted.version}`
  }

  get #command(): string {
    if (this.#from.includes('/node_modules/')) return `npm install --global ${this.spec}`
    const root = packageFolder(this.#from)
    // A bundle brings its own Node, beside the package, and no npm.
    if (root !== null && dirname(root) === dirname(this.#node))
      return `build the package that you installed with ${this.spec} in SINK_PACKAGES (gateway/packaging/README.md)`
    // Of the tests, too: without --save-prod npm leaves it out where those are left out.
    const where = root === null ? '' : ` --prefix ${root}`
    return `npm install --no-save --save-prod ${this.spec}${where}`
  }

  #isInstalled(): boolean {
    try {
      createRequire(this.#from).resolve(this.#wanted.name)
      return true
    } catch (error) {
      // One that is there, but for `import` alone, says ERR_PACKAGE_PATH_NOT_EXPORTED.
      return errorCode(error) !== 'MODULE_NOT_FOUND'
    }
  }
}

/** The nearest folder above a module that is a package's; null: there is none. */
function packageFolder(from: string): string | null {
  for (let folder = dirname(fileURLToPath(from)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder
    if (folder === dirname(folder)) return null
  }
}

function isOlder(version: string, wanted: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [wantedMajor = 0, wantedMinor = 0] = wanted.split('.').map(Number)
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor)
}
