/**
 * Builds the console into `dist/gateway/admin/console/`: `index.html`, and below `assets/` files
 * whose names hold a hash of their content, listed in `manifest.json`. Nothing inline, which the
 * admin server's policy forbids, and nothing from elsewhere. Not here: how they are served
 * (the admin server).
 */
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vite'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  root: here('.'),
  base: './',
  publicDir: false,
  logLevel: 'warn',
  build: {
    outDir: here('../../../dist/gateway/admin/console'),
    emptyOutDir: true,
    manifest: 'manifest.json',
    // What a box in the field may still have: two years of browsers.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
})
