/** The built console as files: small, and nothing in it is inline or from elsewhere. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { builtFile } from '../../support/process.ts'

const MAX_BYTES = 150 * 1024

const index = builtFile('gateway/admin/console/index.html')
const folder = join(index, '..')
const html = readFileSync(index, 'utf8')
const assets = readdirSync(join(folder, 'assets'))

test('the page with everything is at most 150 KiB compressed', () => {
  const files = [index, ...assets.map((name) => join(folder, 'assets', name))]
  const bytes = files.map((file) => gzipSync(readFileSync(file), { level: 9 }).length)
  expect(files.length).toBeGreaterThanOrEqual(3)
  expect(bytes.reduce((all, one) => all + one, 0)).toBeLessThanOrEqual(MAX_BYTES)
})

test('file names hold a hash of the content', () => {
  expect(assets.filter((name) => !/-[\w-]{8}\.(js|css)$/.test(name))).toEqual([])
})

test('nothing is inline and nothing comes from elsewhere', () => {
  expect(html.match(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/g)).toBeNull()
  expect(html.match(/(?:src|href)="(?!\.\/assets\/|data:,)[^"]*"/g)).toBeNull()
  const styles = assets.filter((name) => name.endsWith('.css'))
  for (const name of styles)
    expect(readFileSync(join(folder, 'assets', name), 'utf8')).not.toMatch(/url\(|@import/)
})

test('no source makes markup of text', () => {
  const root = new URL('../../../gateway/admin/console', import.meta.url).pathname
  const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => readFileSync(join(root, name), 'utf8'))
  expect(sources.length).toBeGreaterThan(20)
  const markup = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(/
  expect(sources.filter((text) => markup.test(text))).toEqual([])
})
