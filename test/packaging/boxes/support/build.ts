/**
 * Builds, once for all tests of a run, what they install: the npm package, and from it the bundles,
 * the tarball and the Debian package, by the scripts that a release uses.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { packCheckout } from '../../../support/npm-package.ts'
import { sourcePath } from '../../../support/source-path.ts'

export interface Built {
  /** `npm pack`'s. */
  readonly package: string
  readonly bundles: { readonly x64: string; readonly arm64: string }
  readonly tarball: string
  readonly deb: string
}

declare module 'vitest' {
  interface ProvidedContext {
    built: Built
  }
}

/** xz takes a minute and is not what is tested. */
const FAST = { ...process.env, DEB_COMPRESSION: 'gzip' }

export function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-boxes-'))
  const run = (script: string, ...args: string[]): string => {
    const path = sourcePath(`gateway/packaging/${script}`)
    const stdio = ['ignore', 'pipe', 'inherit'] as const
    const output = execFileSync(path, args, {
      cwd: folder,
      encoding: 'utf8',
      env: FAST,
      stdio: [...stdio],
    })
    return join(folder, output.trim().split('\n').at(-1) ?? '')
  }
  const { filename } = packCheckout(folder)
  const packed = join(folder, filename)
  const bundles = { x64: join(folder, 'x64'), arm64: join(folder, 'arm64') }
  for (const [arch, bundle] of Object.entries(bundles)) run('bundle/build', arch, bundle, packed)
  project.provide('built', {
    package: packed,
    bundles,
    tarball: run('tarball/build', 'x64', bundles.x64),
    deb: run('deb/build', 'x64', bundles.x64),
  })
  return () => rmSync(folder, { recursive: true, force: true })
}
