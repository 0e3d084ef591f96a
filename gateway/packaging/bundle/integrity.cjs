/** `integrity.cjs FILE INTEGRITY`: exit code 1 if the file does not have it. As npm writes it in a lockfile. */
const { createHash } = require('node:crypto')
const { readFileSync } = require('node:fs')

const [file, integrity] = process.argv.slice(2)
const hash = createHash('sha512').update(readFileSync(file)).digest('base64')
process.exit(`sha512-${hash}` === integrity ? 0 : 1)
