// A planted defect, for `node --import`: files are fsynced as ever, folders are not.
import { open } from 'node:fs/promises'

const file = await open(import.meta.filename, 'r')
const prototype = Object.getPrototypeOf(file)
await file.close()
const { sync } = prototype
prototype.sync = async function () {
  if (!(await this.stat()).isDirectory()) await sync.call(this)
}
