/**
 * The reload of a gateway that runs: reads the configuration file, says what it would change, applies
 * it as a whole or not at all, and takes it back by itself if it fails within its probation. One at a
 * time. Not here: what a change does (plan.ts), how it is made (apply.ts).
 */

import { roomWarnings } from '../cli/text/capacity.ts'
import type { LoadedConfig } from '../config/load.ts'
import { shownValue } from '../config/print.ts'
import { ConfigError } from '../config/problems.ts'
import { type Config, SCHEMA } from '../configuration.ts'
import { fitToHost, hostWarnings } from '../host-limits.ts'
import type { GatewayEvent } from '../observe/events.ts'
import type { ConfigurationSnapshot } from '../observe/sources.ts'
import {
  type ConfigReport,
  LOG_LEVELS,
  PROBATION_MS,
  type ReloadOptions,
  type ReloadOutcome,
  type ReloadPlan,
  type WrittenLevel,
} from '../ports/operator.ts'
import { findFaults } from '../preflight.ts'
import { errorMessage } from '../shared/errors.ts'
import { FileWatch } from '../shared/file-watch.ts'
import { within } from '../shared/time/within.ts'
import { applyConfig, type Running } from './apply.ts'
import { planReload } from './plan.ts'
import { Probation } from './probation.ts'

/** Where a gateway's configuration comes from. */
export interface ConfigFile {
  /** Absolute; null: there is no file, but defaults and the environment. */
  readonly path: string | null
  /** Reads it anew. @throws ConfigError */
  readonly load: () => LoadedConfig<Config>
}

/** What a look at the file found. */
type Found = Pick<ReloadOutcome, 'plan' | 'problems' | 'warnings'>

const NO_CHANGE: ReloadPlan = { changes: [], refused: [] }

export class Reloader {
  readonly #running: Running
  readonly #file: ConfigFile | null
  /** As it was loaded: what the host cannot give is cut only in the stages. */
  #config: Config
  #loadedAtMs = Date.now()
  #probation: Probation | null = null
  #failed: ConfigurationSnapshot['failedReload'] = null
  #watch: FileWatch | null = null
  /** The end of the reload that runs, and of those that wait for it. */
  #last: Promise<unknown> = Promise.resolve()

  /** `file` null: it was given its configuration by its caller, and has no other. */
  constructor(running: Running, config: Config, file: ConfigFile | null) {
    this.#running = running
    this.#config = config
    this.#file = file
    this.#followFile()
  }

  get config(): Config {
    return this.#config
  }

  /** On probation since and until when, and whether the last reload failed, for the status. */
  get standing(): ConfigurationSnapshot & Pick<ConfigReport, 'probation'> {
    const { sinceMs, untilMs } = this.#probation ?? { sinceMs: 0, untilMs: 0 }
    const probation = this.#probation === null ? null : { sinceMs, untilMs }
    return { loadedAtMs: this.#loadedAtMs, probation, failedReload: this.#failed }
  }

  async report(): Promise<ConfigReport> {
    const { plan, problems } = await this.#examine()
    const { loadedAtMs, probation, failedReload } = this.standing
    const wentBack = failedReload?.outcome === 'went-back' ? failedReload : null
    return {
      loadedAtMs,
      probation,
      wentBack: wentBack && { atMs: wentBack.atMs, why: wentBack.why },
      path: this.#file?.path ?? null,
      effective: shownValue(SCHEMA.root, this.#config),
      file: { readable: problems.length === 0, problems },
      plan,
    }
  }

  /** Never rejects. */
  reload(options: ReloadOptions): Promise<ReloadOutcome> {
    return this.#inTurn(async () => {
      const { next, ...found } = await this.#examine()
      if (options.dryRun) return { applied: false, ...found }
      return await this.#attempt(next, found, options.probationMs)
    })
  }

  /** Until a reload that changes it, or a restart. */
  setLogLevel(level: WrittenLevel): void {
    this.#changeLevel(this.#config.log.level, { type: 'config.log-level', level }, level)
    this.#config = { ...this.#config, log: { ...this.#config.log, level } }
  }

  /** Every event of the gateway passes here: those that end a probation are its business. */
  heard(event: GatewayEvent): void {
    this.#probation?.heard(event)
  }

  /** No reload begins any more; one that runs has `leftMs`. */
  async stop(leftMs: number): Promise<void> {
    this.#running.isStopping = true
    this.#watch?.close()
    this.#endProbation()
    await within(this.#last, leftMs)
  }

  async #examine(): Promise<Found & { readonly next: Config | null }> {
    if (this.#file === null) {
      const problem = 'this gateway has no configuration file: it was given its configuration'
      return { next: null, plan: NO_CHANGE, problems: [problem], warnings: [] }
    }
    try {
      const { config: next, warnings } = this.#file.load()
      const plan = planReload(this.#config, next)
      const faults = plan.changes.length === 0 ? [] : await findFaults(next)
      return {
        next,
        plan,
        problems: faults.map(({ message }) => message),
        warnings: [...warnings, ...warningsHere(next, this.#running)],
      }
    } catch (error) {
      return { next: null, plan: NO_CHANGE, problems: sentencesOf(error), warnings: [] }
    }
  }

  async #attempt(next: Config | null, found: Found, probationMs: number): Promise<ReloadOutcome> {
    const { plan, problems } = found
    const why = [...problems, ...plan.refused.map(({ key, why }) => `${key}: ${why}`)]
    if (next === null || why.length > 0) {
      this.#refused(why)
      return { applied: false, ...found }
    }
    if (plan.changes.length === 0) {
      // The file says what is in force: nothing is left to mend.
      if (this.#probation === null) this.#failed = null
      return { applied: false, ...found }
    }
    const former = this.#config
    const fine = Probation.fineNow(this.#running, touchedSinks(plan, next))
    this.#endProbation()
    try {
      await this.#apply(next)
    } catch (error) {
      const sentences = sentencesOf(error)
      this.#refused(sentences)
      return { applied: false, ...found, problems: sentences }
    }
    this.#failed = null
    const keys = plan.changes.map(({ key }) => key)
    this.#changeLevel(former.log.level, { type: 'config.applied', keys }, next.log.level)
    if (probationMs > 0)
      this.#probation = new Probation(fine, probationMs, {
        failed: (reason) => void this.#goBack(former, reason),
        passed: () => this.#endProbation(),
      })
    this.#probation?.look(this.#running)
    return { applied: true, ...found }
  }

  async #apply(next: Config): Promise<void> {
    await applyConfig(this.#running, this.#config, next)
    this.#config = next
    this.#loadedAtMs = Date.now()
    this.#followFile()
  }

  #goBack(former: Config, why: string): Promise<void> {
    this.#endProbation()
    return this.#inTurn(async () => {
      const { observer } = this.#running
      try {
        await this.#apply(former)
        observer.setLevel(former.log.level)
      } catch (error) {
        const detail = sentencesOf(error).join('; ')
        this.#failed = { outcome: 'stuck', atMs: Date.now(), why: `${why}; ${detail}` }
        observer.emit({ type: 'config.stuck', why, detail })
        return
      }
      this.#failed = { outcome: 'went-back', atMs: Date.now(), why }
      observer.emit({ type: 'config.went-back', why })
    })
  }

  /** The line that tells of it is written by whichever of the two levels lets more through. */
  #changeLevel(from: WrittenLevel, event: GatewayEvent, to: WrittenLevel): void {
    const { observer } = this.#running
    const isQuieter = LOG_LEVELS.indexOf(to) > LOG_LEVELS.indexOf(from)
    if (isQuieter) observer.emit(event)
    observer.setLevel(to)
    if (!isQuieter) observer.emit(event)
  }

  #refused(why: readonly string[]): void {
    this.#failed = { outcome: 'refused', atMs: Date.now(), why: why.join('; ') }
    this.#running.observer.emit({ type: 'config.refused', why })
  }

  #endProbation(): void {
    this.#probation?.end()
    this.#probation = null
  }

  /** `admin.watchConfig` may have changed. */
  #followFile(): void {
    const path = this.#file?.path ?? null
    const isWanted = this.#config.admin.watchConfig && path !== null
    if (isWanted === (this.#watch !== null)) return
    this.#watch?.close()
    this.#watch = isWanted
      ? new FileWatch([path], async () => {
          await this.reload({ dryRun: false, probationMs: PROBATION_MS })
        })
      : null
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return turn
  }
}

/** Sinks that a reload concerns: by their own keys, or by those of a stream that they deliver. */
function touchedSinks({ changes }: ReloadPlan, { streams }: Config): ReadonlySet<string> {
  const touched = changes.flatMap(({ key }) => {
    const [section, name = ''] = key.split('.')
    if (section === 'sinks') return [name]
    return section === 'streams' ? (streams[name]?.sink ?? []) : []
  })
  return new Set(touched)
}

/** What this host gives less of than the configuration wants. */
function warningsHere(next: Config, { host, stages }: Running): readonly string[] {
  const room = { freeBytes: stages.spool.disk.freeBytes, usedBytes: stages.size.bytes }
  const limits = hostWarnings(fitToHost(next, host), host).map(({ text }) => text)
  return [...limits, ...roomWarnings(next, room)]
}

function sentencesOf(error: unknown): readonly string[] {
  if (error instanceof ConfigError) return error.message.split('\n').filter((line) => line !== '')
  return [errorMessage(error)]
}
