/** What the doctor says of one thing: how it is, and what to do if that is not well. */

/** In the order of a report: from the disk to the far side. Documented in gateway/cli/README.md. */
export const CHECKS = [
  'data-folder',
  'disk-space',
  'disk-inodes',
  'disk-kind',
  'disk-fsync',
  'memory',
  'descriptors',
  'version',
  'configuration',
  'clock',
  'clock-sync',
  'clock-skew',
  'files',
  'permissions',
  'certificates',
  'ports',
  'client-ids',
  'silent-devices',
  'spool',
  'sink',
] as const

export type Check = (typeof CHECKS)[number]

/** `unknown`: it cannot be told here, which is no finding. */
type Standing = 'ok' | 'unknown' | 'warning' | 'problem'

export interface Diagnosis {
  readonly check: Check
  /** Of several things that are checked alike, which; null: there is one. */
  readonly subject: string | null
  readonly standing: Standing
  /** One sentence. Never a secret. */
  readonly detail: string
  /** What to do; null: nothing. */
  readonly fix: string | null
}

type Known = readonly [detail: string, subject?: string | null]
type Found = readonly [detail: string, fix: string, subject?: string | null]

export function well(check: Check, ...[detail, subject = null]: Known): Diagnosis {
  return { check, subject, standing: 'ok', detail, fix: null }
}

export function untold(check: Check, ...[detail, subject = null]: Known): Diagnosis {
  return { check, subject, standing: 'unknown', detail, fix: null }
}

export function warning(check: Check, ...[detail, fix, subject = null]: Found): Diagnosis {
  return { check, subject, standing: 'warning', detail, fix }
}

export function problem(check: Check, ...[detail, fix, subject = null]: Found): Diagnosis {
  return { check, subject, standing: 'problem', detail, fix }
}

export function isFinding({ standing }: Diagnosis): boolean {
  return standing === 'warning' || standing === 'problem'
}
