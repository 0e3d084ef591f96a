import { configDefaults, defineConfig } from 'vitest/config'
import { SkipReporter } from './support/skip-reporter.ts'

/**
 * They compare times or throughputs, which depend on what else the machine does: each has it to
 * itself, when all others have ended.
 */
const TIMED = [
  'test/costs/formats.test.ts',
  'test/e2e/guessing.test.ts',
  'test/e2e/several-sinks.test.ts',
]

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    setupFiles: ['test/support/setup.ts'],
    // They find what hangs; a busy machine is no fault.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', new SkipReporter()],
    projects: [
      {
        extends: true,
        test: {
          name: 'side by side',
          include: ['test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...TIMED],
          maxWorkers: 2,
        },
      },
      {
        extends: true,
        test: { name: 'timed', include: TIMED, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
})
