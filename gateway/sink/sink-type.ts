/** What a type of sink brings, besides its keys; registry.ts lists the types. */
import type { Report } from '../config/problems.ts'
import type { Schema } from '../config/schema.ts'
import type { Path } from '../config/walk.ts'
import type { NoticeBus } from '../ports/notices.ts'
import type { Batch, Sink, SinkProbe, SinkPromise } from '../ports/sink.ts'
import type { EmitSinkEvent } from './events.ts'
import type { OptionalPackage } from './optional-package.ts'
import type { SinkStats } from './stats.ts'

/** A file that a configuration names, by its key below that of the sink. */
type NamedFile = readonly [key: string, path: string]

export interface ConfiguredSink extends Sink {
  readonly stats: SinkStats
  /** That of its type, or less where the far side turned out not to keep its part. */
  readonly promise: SinkPromise
  /** Reads anew what its configuration names, without waiting for the next look. */
  reread(): Promise<void>
}

export interface SinkOptions<Config> {
  readonly name: string
  readonly config: Config
  readonly emit: EmitSinkEvent
  /**
   * One message alone, perhaps beside a gateway that runs: what the far side knows only one of (a
   * client id, a session) must be another one.
   */
  readonly trial?: boolean
}

export interface SinkProbeOptions<Config> {
  readonly name: string
  readonly config: Config
  /** Where the spool lies, for types that write to a disk of this box. */
  readonly dataDir: string
}

export interface NoticeOptions<Config> {
  readonly name: string
  readonly config: Config
  /** Where they are sent and received: a word of the type's own. */
  readonly subject: string
  readonly emit: EmitSinkEvent
}

export interface SinkType<Config> {
  /** Client libraries that the gateway comes without; absent: none. */
  readonly packages?: ReadonlyArray<OptionalPackage<unknown>>
  readonly keys: Readonly<Record<string, Schema<unknown>>>
  /** What the keys of one sink say of each other. */
  check(path: Path, config: Config, report: Report): void
  /** Without them nothing is delivered: a preflight makes sure that they can be read. */
  files(config: Config): readonly NamedFile[]
  /** Where it sends, as a URL without what is secret about it. */
  url(config: Config): string
  promise(config: Config): SinkPromise
  /**
   * What a batch would become, for people: each thing that would be sent, its place (a topic, a
   * subject, headers) and its text. Touches nothing outside. Throws nothing for what a record holds:
   * it says why that one would be refused.
   */
  preview(config: Config, batch: Batch): Promise<string>
  /**
   * What has to be made at the far side by hand, for people to run there: `create table` and the
   * like. Absent: nothing.
   */
  ddl?(config: Config): string
  /** Touches nothing of the far side before the first batch. */
  create(options: SinkOptions<Config>): ConfiguredSink
  /** Notices between gateways by the same servers and login. Absent: they cannot carry them. */
  notices?(options: NoticeOptions<Config>): NoticeBus
  /** Is it there, and would it take batches? Delivers nothing, changes nothing. Never rejects. */
  probe(options: SinkProbeOptions<Config>): Promise<SinkProbe>
}
