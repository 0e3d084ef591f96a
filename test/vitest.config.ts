import { defineConfig } from 'vitest/config'
import { SkipReporter } from './support/skip-reporter.ts'

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/setup.ts'],
    // They find what hangs; a busy machine is no fault.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Vitest's own limit is a second: one stalled fsync of a shared disk and a slow turn.
    expect: { poll: { timeout: 20_000 } },
    maxWorkers: 2,
    reporters: ['default', new SkipReporter()],
  },
})
