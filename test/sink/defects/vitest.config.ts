/**
 * A project for each planted defect: the test file that is there for it, over a source that is
 * wrong. What is right is transformed once for all of them.
 */
import { defineConfig, type ViteUserConfig } from 'vitest/config'
import type { TestCase } from 'vitest/node'
import { DEFECTS, MODULE_CACHE_VARIABLE, type PlantedDefect, type Verdict } from './defects.ts'

type VitePlugin = Exclude<NonNullable<ViteUserConfig['plugins']>[number], unknown[] | false>

const root = new URL('../../..', import.meta.url).pathname
const experimental = {
  fsModuleCache: true,
  fsModuleCachePath: process.env[MODULE_CACHE_VARIABLE] ?? '',
}

const isOf = (id: string, source: string): boolean => id.endsWith(`/gateway/sink/${source}`)

function planted({ source, right, wrong }: PlantedDefect) {
  return {
    name: 'planted-defect',
    // Before types are taken away: the text is that of the source.
    enforce: 'pre' as const,
    configureVitest: ({ experimental_defineCacheKeyGenerator: keepBy }) => {
      keepBy(({ id }) => (DEFECTS.some((one) => isOf(id, one.source)) ? false : undefined))
    },
    transform: (code: string, id: string) => {
      if (!isOf(id, source)) return null
      const [before, after, ...more] = code.split(right)
      if (before === undefined || after === undefined || more.length > 0)
        throw new Error(`${source} has not once: ${right}`)
      return { code: `${before}${wrong}${after}`, map: null }
    },
  } satisfies VitePlugin
}

/** A line of JSON for each test that ran. */
const reporter = {
  onTestCaseResult: (test: TestCase): void => {
    const { state, errors = [] } = test.result()
    if (state === 'skipped') return
    const [error = null] = errors.map(({ name, message }) => `${name}: ${message}`)
    const verdict: Verdict = { defect: test.project.name, test: test.name, error }
    process.stdout.write(`${JSON.stringify(verdict)}\n`)
  },
}

const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')

export default defineConfig({
  test: {
    root,
    pool: 'threads',
    maxWorkers: 2,
    testNamePattern: new RegExp(DEFECTS.map(({ check }) => literal(check)).join('|')),
    reporters: [reporter],
    experimental,
    projects: DEFECTS.map((defect) => ({
      plugins: [planted(defect)],
      test: {
        root,
        name: defect.what,
        include: [`test/sink/${defect.file}`],
        setupFiles: ['test/support/setup.ts'],
        experimental,
      },
    })),
  },
})
