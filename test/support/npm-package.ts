/** Makes the npm package of this repository as from a checkout that was never built. */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { sourcePath } from './source-path.ts'

export interface Packed {
  readonly filename: string
  readonly files: ReadonlyArray<{ readonly path: string; readonly mode: number }>
}

const IN_A_CHECKOUT = [
  'package.json',
  'package-lock.json',
  '.npmrc',
  'tsconfig.json',
  'README.md',
  'CHANGELOG.md',
  'LICENSE',
  'gateway',
  'device-sim',
  'dashboards',
  'test',
]

/** The package lies in `folder` then. */
export function packCheckout(folder: string): Packed {
  const root = dirname(sourcePath('package-lock.json'))
  const checkout = join(folder, 'checkout')
  mkdirSync(checkout)
  for (const name of IN_A_CHECKOUT)
    if (existsSync(join(root, name)))
      cpSync(join(root, name), join(checkout, name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'))
  const output = execFileSync(
    'npm',
    ['pack', '--json', '--offline', '--pack-destination', folder],
    { cwd: checkout, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  )
  rmSync(checkout, { recursive: true })
  return (JSON.parse(output) as Packed[])[0] as Packed
}
