/** A loop that makes a file of each batch: written, fsynced, renamed, its folder fsynced. */
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { nothingLeft, type Sender } from './sender.ts'
import type { BareTask } from './task.ts'

export async function fileSender({
  folder,
}: Extract<BareTask, { kind: 'files' }>): Promise<Sender> {
  const directory = await open(folder)
  return {
    ...nothingLeft,
    send: async ({ name, stored }) => {
      const temporary = join(folder, `${name}.part`)
      const file = await open(temporary, 'w')
      await file.writeFile(stored)
      await file.sync()
      await file.close()
      await rename(temporary, join(folder, name))
      await directory.sync()
    },
    close: () => directory.close(),
  }
}
