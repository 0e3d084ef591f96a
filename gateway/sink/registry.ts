/**
 * The types of sink, a line each. What a type can do is known in its folder; here is only its name,
 * as `type` in the configuration of a sink says it.
 */
import type { Report } from '../config/problems.ts'
import type { Path } from '../config/walk.ts'
import { httpFiles, httpKeys } from './http/config.ts'
import { checkHttpSink } from './http/config-checks.ts'

export const SINK_TYPES = {
  http: { keys: httpKeys, check: checkHttpSink, files: httpFiles },
}

/** A file that a configuration names, by its key below that of the sink. */
export type NamedFile = readonly [key: string, path: string]

interface SinkType {
  /** What the keys of one sink say of each other. */
  check(path: Path, config: SinkTypeConfig, report: Report): void
  /** Without them nothing is delivered: a preflight makes sure that they can be read. */
  files(config: SinkTypeConfig): readonly NamedFile[]
}

type Types = typeof SINK_TYPES

/** What a sink's type adds to the configuration of its delivery. */
export type SinkTypeConfig = {
  [Name in keyof Types]: Parameters<Types[Name]['check']>[1]
}[keyof Types]

export function sinkTypeOf({ type }: SinkTypeConfig): SinkType {
  return SINK_TYPES[type]
}
