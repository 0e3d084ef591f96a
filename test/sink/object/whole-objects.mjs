/**
 * For `node --import`, of s3rver: what S3 does and s3rver does not. An object is there whole or not
 * at all, and a PUT is answered once it is. s3rver empties what it has under a name at the first
 * byte of a PUT, keeps what came of one that was cut, and answers before the file is written. A body
 * that is not that of its Content-MD5 is refused.
 */
import { createHash } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'

const require = createRequire(import.meta.url)
const FilesystemStore = require('s3rver/lib/stores/filesystem.js')
const S3Error = require('s3rver/lib/models/error.js')

let writes = 0
async function place(path, content) {
  const temporary = `${path}.${process.pid}-${(writes += 1)}`
  await writeFile(temporary, content)
  await rename(temporary, path)
}

FilesystemStore.prototype.putObject = async function ({ bucket, key, content: body, metadata }) {
  const chunks = []
  // Throws if the connection ends before all of it is here.
  for await (const chunk of body) chunks.push(chunk)
  const content = Buffer.concat(chunks)
  const digest = createHash('md5').update(content).digest()
  const wanted = body.headers['content-md5']
  if (wanted !== undefined && wanted !== digest.toString('base64'))
    throw new S3Error('BadDigest', 'The Content-MD5 you specified did not match what we received.')
  const path = this.getResourcePath(bucket, key, 'object')
  await mkdir(dirname(path), { recursive: true })
  // It is there once its own file is: one whose metadata was cut would answer 500 for ever.
  const { 'content-type': type } = metadata
  const about = JSON.stringify({ 'content-type': type })
  await place(this.getResourcePath(bucket, key, 'metadata.json'), about)
  const md5 = digest.toString('hex')
  await place(`${path}.md5`, md5)
  await place(path, content)
  return { size: content.length, md5 }
}
