/** The tests that kafka.test.ts runs under a newer Node. */
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

const client = join(process.env['SLUICE_KAFKA_CLIENT'] ?? '', 'node_modules/@platformatic/kafka')

export default defineConfig({
  // Vitest resolves by itself, and asks no hook of Node.
  resolve: { alias: { '@platformatic/kafka': join(client, 'dist/index.js') } },
  test: {
    root: new URL('../../..', import.meta.url).pathname,
    include: ['test/sink/kafka/newer/*.ts'],
    setupFiles: ['test/support/setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
})
