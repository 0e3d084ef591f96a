/** What the bare one is to do: the same batches into the same receiver, without a gateway. */

/** Form of a body that is posted. `stored`: the gzip of NDJSON as the gateway's spool has it. */
export type BodyForm =
  | 'stored'
  | 'json-array'
  | 'influx'
  | 'influx-numbers'
  | 'es-bulk'
  | 'json-each-row'
  | 'otlp-logs'

interface Post {
  readonly kind: 'post'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly form: BodyForm
  /** Of a request; null: a batch. */
  readonly maxRecords: number | null
}

interface Put {
  readonly kind: 'put'
  /** A name is put behind it. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

interface Files {
  readonly kind: 'files'
  readonly folder: string
}

interface Mqtt {
  readonly kind: 'mqtt'
  readonly url: string
  readonly qos: 1 | 2
  /** Most messages without an acknowledgment. */
  readonly window: number
}

interface Postgres {
  readonly kind: 'postgres'
  readonly url: string
  readonly table: string
}

interface Nats {
  readonly kind: 'nats'
  readonly server: string
  readonly message: 'batch' | 'record'
  readonly subject: string
  /** Most records without an acknowledgment. */
  readonly window: number
}

interface Kafka {
  readonly kind: 'kafka'
  readonly brokers: readonly string[]
  readonly topic: string
  /** Of a call. */
  readonly maxRecords: number
}

export type BareTask = Post | Put | Files | Mqtt | Postgres | Nats | Kafka

/** Argument of the program, as JSON. */
export interface BareRun {
  readonly task: BareTask
  /** Folder of the batches, gzip files of NDJSON whose names are in their order. */
  readonly batches: string
  /** How many of their records. */
  readonly records: number
}

/** What it prints, as JSON. */
export interface BareResult {
  readonly records: number
  readonly seconds: number
  readonly cpuSeconds: number
}
