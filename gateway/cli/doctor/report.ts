/** A report of the doctor, for a person and for a script. Pure. */
import { counted, plainLine } from '../../shared/text/words.ts'
import { CHECKS, type Diagnosis, isFinding } from './diagnosis.ts'

export interface DoctorReport {
  /** Of this document. Rises when a member changes its meaning. */
  readonly doctorVersion: 1
  /** Of the command. */
  readonly version: string
  readonly node: string
  /** RFC 3339 UTC. */
  readonly at: string
  /** Was a gateway found that runs on this configuration? */
  readonly running: boolean
  readonly problems: number
  readonly warnings: number
  /** In the order of {@link CHECKS}. */
  readonly diagnoses: readonly Diagnosis[]
}

export function doctorReport(
  facts: Pick<DoctorReport, 'version' | 'node' | 'at' | 'running'>,
  diagnoses: readonly Diagnosis[],
): DoctorReport {
  const numberOf = (standing: string) => diagnoses.filter((one) => one.standing === standing).length
  return {
    doctorVersion: 1,
    ...facts,
    problems: numberOf('problem'),
    warnings: numberOf('warning'),
    diagnoses: diagnoses.toSorted((a, b) => CHECKS.indexOf(a.check) - CHECKS.indexOf(b.check)),
  }
}

/** `isBrief`: findings alone. */
export function reportText(report: DoctorReport, isBrief: boolean): string {
  const shown = report.diagnoses.filter((one) => !isBrief || isFinding(one))
  const { problems, warnings, running } = report
  const sum =
    problems + warnings === 0
      ? 'nothing found'
      : `${counted(problems, 'problem')}, ${counted(warnings, 'warning')}`
  const lines = shown.flatMap(linesOf)
  return `${[...lines, `${sum} (the gateway ${running ? 'runs' : 'does not run'})`].join('\n')}\n`
}

function linesOf({ standing, check, subject, detail, fix }: Diagnosis): string[] {
  const what = subject === null ? check : `${check} ${plainLine(subject)}`
  const line = `${standing.padEnd(8)} ${what}: ${plainLine(detail)}`
  return fix === null ? [line] : [line, `${' '.repeat(9)}fix: ${plainLine(fix)}`]
}
