// A planted defect, for `node --import`: a file sink whose every fifth file never gets its name.
import fsp from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

const { rename, unlink } = fsp
let files = 0
fsp.rename = async (from, to) => ((files += 1) % 5 === 0 ? unlink(from) : rename(from, to))
syncBuiltinESMExports()
