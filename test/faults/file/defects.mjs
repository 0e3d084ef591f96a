// Planted defects, for `node --import`: a file sink that forgets a step. FILE_SINK_DEFECT says which.
import fsp from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

// Of their own: imported names follow what is planted.
const { open, rename } = fsp
const file = await open(import.meta.filename, 'r')
const prototype = Object.getPrototypeOf(file)
await file.close()
const { sync } = prototype

const DEFECTS = {
  'folders are not synced': () => {
    prototype.sync = async function () {
      if (!(await this.stat()).isDirectory()) await sync.call(this)
    }
  },
  'files are not synced': () => {
    prototype.sync = async function () {
      if ((await this.stat()).isDirectory()) await sync.call(this)
    }
  },
  'acked before the rename': () => {
    fsp.rename = async (from, to) => void setTimeout(() => void rename(from, to), 3)
  },
  'written under its own name': () => {
    fsp.open = async (path, ...rest) =>
      open(String(path).replace(/\/\.([^/]+)\.tmp$/, '/$1'), ...rest)
    fsp.rename = async () => undefined
  },
}

DEFECTS[process.env.FILE_SINK_DEFECT]()
syncBuiltinESMExports()
