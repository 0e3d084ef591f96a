/**
 * Sluice as it is installed on a box: packages are built, and installed into roots of their own. It
 * needs root, a registry and about two minutes, so it is no part of the other tests.
 */
import { defineConfig } from 'vitest/config'
import { SkipReporter } from '../../support/skip-reporter.ts'

export default defineConfig({
  test: {
    root: new URL('../../..', import.meta.url).pathname,
    include: ['test/packaging/boxes/*-box.ts'],
    globalSetup: ['test/packaging/boxes/support/build.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    reporters: ['default', new SkipReporter()],
  },
})
