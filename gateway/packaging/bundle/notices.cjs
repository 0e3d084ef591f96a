/**
 * `notices.cjs APP NODE_LICENSE NODE_VERSION SBOM FOLDER`: writes NOTICES, the license texts of Node and of each package
 * below APP/node_modules, and sluice.cdx.json, npm's SBOM with Node in it. Fails for a package whose license is not
 * known to allow this, or that comes without its text.
 */
const { existsSync, readdirSync, readFileSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')

/** Permissive ones: they ask for their text to go along, which is what NOTICES does. */
const ALLOWED = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  'MIT',
  'Unlicense',
])
const TEXT = /^(licen[cs]e|copying|notice)(\.|$)/i

/** Folders of all packages below one, in order. */
function packagesBelow(folder) {
  const modules = join(folder, 'node_modules')
  if (!existsSync(modules)) return []
  return readdirSync(modules)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) =>
      name.startsWith('@')
        ? readdirSync(join(modules, name)).map((part) => join(name, part))
        : [name],
    )
    .toSorted()
    .map((name) => join(modules, name))
    .flatMap((path) => [path, ...packagesBelow(path)])
}

/** Texts of a package's license: files of their own, or the end of its README. */
function textsOf(path) {
  const files = readdirSync(path)
  const own = files
    .filter((file) => TEXT.test(file))
    .map((file) => readFileSync(join(path, file), 'utf8'))
  if (own.length > 0) return own
  return files
    .filter((file) => /^readme/i.test(file))
    .map((file) => readFileSync(join(path, file), 'utf8').split(/^#+ licen[cs]e\s*$/im)[1] ?? '')
    .filter((text) => text.includes('Permission is hereby granted'))
}

function noticeOf(path) {
  const { name, version, license } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'))
  const texts = textsOf(path)
  if (!ALLOWED.has(license))
    throw new Error(`${name}@${version}: the license ${license} is not among those allowed`)
  if (texts.length === 0)
    throw new Error(`${name}@${version} comes without the text of its license`)
  return section(`${name} ${version} (${license})`, texts)
}

function section(title, texts) {
  return `${'='.repeat(80)}\n${title}\n${'='.repeat(80)}\n\n${texts.map((text) => text.trim()).join('\n\n')}\n`
}

const [app, nodeLicense, nodeVersion, sbomFile, folder] = process.argv.slice(2)
const notices = [
  'Sluice comes with Node and the packages below. Each is under the license that stands with it.\n',
  section(`Node ${nodeVersion}`, [readFileSync(nodeLicense, 'utf8')]),
  ...new Set(packagesBelow(app).map(noticeOf)),
]
writeFileSync(join(folder, 'NOTICES'), notices.join('\n'))

const sbom = JSON.parse(readFileSync(sbomFile, 'utf8'))
// Which day it was made, by which run: not part of what is in it.
delete sbom.serialNumber
delete sbom.metadata.timestamp
sbom.components.push({
  'bom-ref': `node@${nodeVersion}`,
  type: 'application',
  name: 'node',
  version: nodeVersion,
  purl: `pkg:generic/node@${nodeVersion}`,
  licenses: [{ license: { id: 'MIT' } }],
})
writeFileSync(join(folder, 'sluice.cdx.json'), `${JSON.stringify(sbom, null, 2)}\n`)
