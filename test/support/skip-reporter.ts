/**
 * A vitest reporter that lists every skipped test and why, at the end of a run: a skip is never
 * silent.
 */
import type { TestModule } from 'vitest/node'

export class SkipReporter {
  readonly #print: (line: string) => void

  constructor(print: (line: string) => void = (line) => process.stdout.write(`${line}\n`)) {
    this.#print = print
  }

  onTestRunEnd(modules: readonly TestModule[]): void {
    const lines: string[] = []
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const result = test.result()
        if (result.state !== 'skipped' || test.options.mode === 'todo') continue
        lines.push(
          `  ${module.relativeModuleId} > ${test.fullName}: ${result.note ?? 'skipped without a reason'}`,
        )
      }
    }
    if (lines.length === 0) return
    this.#print(`\nSkipped: ${lines.length}`)
    for (const line of lines) this.#print(line)
  }
}
