/** A type of sink beside what does the same without a gateway: what each of them brings. */
import type { NodeProgram } from '../processes.ts'
import type { BareTask } from './bare/task.ts'

export interface Contest {
  readonly name: string
  /** Programs without which it is left out. */
  readonly tools: readonly string[]
  /** Of a run: so many that it takes some seconds. */
  readonly records: number
  /** In words: the receiver, and what the bare one does. */
  readonly about: string
  /** @param folder of its own, for all that it keeps */
  open(folder: string): Promise<OpenReceiver>
}

/** The receiver of all runs of a type. */
export interface OpenReceiver {
  /** A place in it that is empty, for one run. */
  place(): Promise<Place>
  close(): Promise<void>
}

export interface Place {
  /** What both run under. @default the Node of the bench */
  readonly node?: NodeProgram
  /** Keys of the gateway's sink; all else is as by default. */
  readonly sink: Readonly<Record<string, unknown>>
  /** The same, bare. */
  readonly bare: BareTask
  /** Records that are there, or were. */
  stored(): Promise<number>
}

/** What a run got, of the gateway or of the bare one. */
export interface Rate {
  readonly recordsPerSecond: number
  /** Processor of its process, all threads. */
  readonly cpuMicrosPerRecord: number
}
