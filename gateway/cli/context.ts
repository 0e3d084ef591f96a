/**
 * What commands need from outside: from the process, and from the gateway that a configuration
 * describes. The composition fills it in (command-line.ts).
 */
import type { ConfigSource } from '../config/load.ts'
import type {
  ConfigReport,
  OfflineOperator,
  ReloadOptions,
  ReloadOutcome,
} from '../ports/operator.ts'
import type { SinkProbe, SinkPromise } from '../ports/sink.ts'
import type { Health } from '../ports/status.ts'
import type { TrialMessage, TrialOutcome } from '../ports/trials.ts'
import type { CliConfig } from './config.ts'
import type { SignalListener } from './signals.ts'
import type { Output } from './text/output.ts'

export interface CliContext {
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** Of the product. */
  readonly version: string
  /** How this program was called, for advice: `sluice`, `node dist/gateway/main.js`. */
  readonly command: string
  readonly stdin: NodeJS.ReadStream
  readonly stdout: Output
  readonly stderr: Output
  /** @throws ConfigError */
  load(source: ConfigSource): Promise<ConfiguredGateway>
  /**
   * Of a configuration that is refused: `gateway` and `admin` as far as they can be read, defaults
   * for all else. Never refused; only for finding a gateway that runs.
   */
  loadPlace(source: ConfigSource): Promise<ConfiguredGateway>
  /** JSON Schema of a configuration. */
  configSchema(): Promise<object>
  /** A first one to edit, for a type of sink. @throws Error that names the types */
  firstConfig(sinkType: string): Promise<string>
  /** Reads a backup to its end. @throws if it is not whole */
  checkBackup(path: string): Promise<{ readonly pendingRecords: number; readonly entries: number }>
  /** `role`: of the console; null: the user keeps the one that it has. */
  setPassword(
    path: string,
    user: string,
    password: string,
    role: string | null,
  ): Promise<'added' | 'changed'>
  removeUser(path: string, user: string): Promise<boolean>
  /** Until the returned function is called. */
  listenToSignals(listener: SignalListener): () => void
  /** Ends the process now, whatever is open. */
  exit(code: number): void
}

/** A configuration that was loaded, and what a command can do with it. */
export interface ConfiguredGateway {
  readonly config: CliConfig
  /** What works, but hardly as it was meant. One sentence each, beginning with the key. */
  readonly warnings: readonly string[]
  /** The effective configuration, which could be loaded again but for its secrets. */
  yaml(): string
  /** What each sink promises, and where it sends, without secrets. */
  sinkPromises(): readonly SinkWord[]
  /** Limits of it that this host cannot give; `pid`: to the process of a gateway that runs. */
  hostWarnings(pid?: number | null): Promise<HostWarning[]>
  /** What it names: certificates and keys, passwords, secrets; literal ones, by the file itself. */
  namedPaths(): readonly NamedPath[]
  /** What a start would refuse, and what would keep it from delivering. Changes nothing. */
  findFaults(): Promise<Error[]>
  /** Takes the addresses for a moment, writes a file into the data folder, and asks each sink. */
  tryOut(): Promise<Trial>
  /** What a gateway that runs has in force, which need not be what was loaded here. */
  inForce(report: ConfigReport): Promise<InForce>
  /** What a message would become in a sink. Sends nothing. */
  previewSink(trial: TrialMessage): Promise<string>
  /** Sends a message through a sink, beside the spool. */
  trySink(trial: TrialMessage): Promise<TrialOutcome>
  /** Could a client log in at each listener, publish and subscribe? @throws AuthFileError */
  tryAccess(trial: AccessTrial): Promise<readonly ListenerAccess[]>
  /** What has to be made at the receiver of a sink. */
  sinkDdl(name: string): Promise<string>
  start(): Promise<RunningGateway>
  /** Takes the folder's lock; `close` gives it back. */
  openOffline(): Promise<OfflineOperator>
  /** `replace`: a spool that is there is moved aside. */
  restoreBackup(path: string, replace: boolean): Promise<RestoredSpool>
}

interface InForce {
  /** Secrets are those that were loaded here. */
  readonly configured: ConfiguredGateway
  /** Sinks of which a secret may be another one: none of them is asked by `tryOut`. */
  readonly untried: readonly string[]
}

export interface HostWarning {
  readonly because: 'descriptors' | 'memory'
  readonly text: string
}

/** A file or folder that the configuration names. */
export interface NamedPath {
  /** Dotted, `sinks.cloud.tls.cert`. */
  readonly key: string
  /** Absolute. */
  readonly path: string
  readonly holds: 'certificate' | 'secret' | 'data'
}

/** What came of trying out a configuration. */
export interface Trial {
  /** The process that owns the data folder; its addresses were not tried then. */
  readonly ownerPid: number | null
  readonly addressFaults: readonly Error[]
  /** null: there is no data folder yet. */
  readonly folder: FolderTrial | null
  readonly probes: readonly SinkProbe[]
}

/** `syncMs`: of each write, how long it took until it was durable. */
export type FolderTrial = { readonly fault: Error } | { readonly syncMs: readonly number[] }

export interface SinkWord {
  readonly name: string
  readonly target: string
  readonly promise: SinkPromise
}

/** A client that might come. */
interface AccessTrial {
  /** null: it sends none. */
  readonly user: string | null
  /** null: it is not tried. */
  readonly password: Uint8Array | null
  readonly clientId: string
  readonly publish: readonly string[]
  readonly subscribe: readonly string[]
}

interface AccessVerdict {
  readonly allowed: boolean
  readonly why: string
}

export interface ListenerAccess {
  /** `mqtts://0.0.0.0:8883` */
  readonly listener: string
  readonly login: AccessVerdict
  readonly topics: ReadonlyArray<
    AccessVerdict & { readonly action: 'publish' | 'subscribe'; readonly topic: string }
  >
}

export interface RunningGateway {
  /** Where devices connect, as bound. */
  readonly addresses: ReadonlyArray<{ readonly host: string; readonly port: number }>
  readonly adminUrl: string
  readonly gatewayId: string
  /** Where each sink sends, without secrets. */
  readonly sinks: ReadonlyArray<{ readonly name: string; readonly target: string }>
  /** In force now: a reload puts another one in its place. */
  readonly config: CliConfig
  /** Reads the configuration file and applies it, all of it or nothing. Never rejects. */
  reload(options: ReloadOptions): Promise<ReloadOutcome>
  /** Not alive: only a restart would help. */
  live(): Health
  /**
   * Reads again what the configuration names: passwords, access rules, certificates, secrets of
   * sinks.
   */
  reread(): Promise<void>
  /**
   * In order, within `deadlineMs`; what still waits then is cut off. Nothing acknowledged is lost
   * either way.
   */
  stop(deadlineMs: number): Promise<void>
}

interface RestoredSpool {
  /** When the backup was made, RFC 3339. */
  readonly at: string
  readonly pendingRecords: number
  /** Where the spool went that was there before; null: there was none. */
  readonly movedTo: string | null
}
