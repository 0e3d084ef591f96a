/** Where an export goes, and in which form. */
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { CliContext } from '../context.ts'
import { NewFile } from '../files/new-file.ts'

const FORMATS = ['ndjson', 'csv'] as const

export interface ExportFlags {
  readonly format: (typeof FORMATS)[number]
  readonly out?: string
}

export function withExport(command: Command): Command {
  return command
    .addOption(
      new Option('-f, --format <format>', 'a line or a row each')
        .choices(FORMATS)
        .default('ndjson'),
    )
    .option('-o, --out <file>', 'a file that does not exist yet; - or none: standard output')
}

/** Texts are written as they come; the file is there only if all of them were. */
export async function writeExport(
  { out }: ExportFlags,
  { cwd, stdout }: CliContext,
  texts: AsyncIterable<string>,
): Promise<{ readonly path: string | null }> {
  const path = out === undefined || out === '-' ? null : resolve(cwd, out)
  const pages = texts[Symbol.asyncIterator]()
  // The first before the file: a wrong name leaves none behind.
  let page = await pages.next()
  const file = path === null ? null : new NewFile(path)
  let isWhole = false
  try {
    for (; page.done !== true; page = await pages.next()) {
      if (file === null) stdout.write(page.value)
      else file.write(page.value)
    }
    isWhole = true
  } finally {
    file?.close(isWhole)
  }
  return { path }
}
