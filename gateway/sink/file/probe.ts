/**
 * Is the folder there, and would it take batches? A file is written and removed, with all that makes
 * it durable; told in words, step by step up to the first that fails.
 */
import { type FileHandle, open, rename, stat, statfs, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { ProbeStep, SinkProbe } from '../../ports/sink.ts'
import { syncFolder } from '../../shared/files.ts'
import type { SinkProbeOptions } from '../sink-type.ts'
import type { FileSinkConfig } from './config.ts'
import { troubleOf } from './file-errors.ts'
import { FolderWriter } from './folder-writer.ts'

export async function probeFolder(options: SinkProbeOptions<FileSinkConfig>): Promise<SinkProbe> {
  const { name, config } = options
  const steps: ProbeStep[] = []
  const ok = (step: string, detail: string) => steps.push({ step, verdict: 'ok', detail })
  const warn = (step: string, detail: string) => steps.push({ step, verdict: 'warning', detail })
  let step = 'folder'
  try {
    await new FolderWriter({ ...config, mode: 0o600 }).look(0)
    ok(step, config.marker === null ? 'is there' : `is there, and holds ${config.marker}`)
    step = 'room'
    const { bavail, bsize } = await statfs(config.folder)
    ok(step, `${Math.floor((bavail * bsize) / (1024 * 1024))} MiB are free`)
    step = 'write'
    await writeAndRemove(join(config.folder, `.sluice-try-${process.pid}`))
    ok(step, 'a file was written, renamed and removed')
    step = 'durable'
    const cannot = await syncFolder(config.folder).then(
      () => null,
      (error: unknown) => troubleOf(error).detail,
    )
    if (cannot === null) ok(step, 'names of files are made durable')
    else warn(step, `names of files may be lost in a power cut: ${cannot}`)
    for (const detail of await mountDoubts(options)) warn('mount', detail)
  } catch (error) {
    steps.push({ step, verdict: 'problem', detail: troubleOf(error).detail })
  }
  return { sink: name, target: config.folder, steps }
}

async function writeAndRemove(path: string): Promise<void> {
  const file: FileHandle = await open(path, 'w', 0o600)
  try {
    await file.writeFile('sluice check --try\n')
    await file.sync()
  } finally {
    await file.close()
  }
  const renamed = `${path}-renamed`
  await rename(path, renamed)
  await unlink(renamed)
}

/** What would go wrong without a word once a disk is gone, or full. */
async function mountDoubts({
  config,
  dataDir,
}: SinkProbeOptions<FileSinkConfig>): Promise<string[]> {
  const { folder, marker } = config
  const device = (await stat(folder)).dev
  const doubts: string[] = []
  if ((await deviceOf(dataDir)) === device)
    doubts.push(
      'it is on the file system of the data folder: files that nobody takes away leave no room for the spool, which has spool.minFreeBytes alone',
    )
  const above = await stat(dirname(folder)).catch(() => null)
  if (above !== null && above.dev !== device && marker === null)
    doubts.push(
      'it is where a disk is mounted: without the disk, files would go to the one below; use a folder on the disk, or set marker',
    )
  return doubts
}

/** Of a path, or of the nearest one above that is there: a first start makes the data folder. */
async function deviceOf(path: string): Promise<number | null> {
  const stats = await stat(path).catch(() => null)
  if (stats !== null) return stats.dev
  return dirname(path) === path ? null : await deviceOf(dirname(path))
}
