// A planted defect, for `node --import`: batches are written without `sync: true`, as if the
// gateway had forgotten it.
import { Level } from 'level'

const { prototype } = Level
const inherited = Object.getPrototypeOf(prototype)
prototype.batch = function (operations, options) {
  return inherited.batch.call(this, operations, { ...options, sync: false })
}
