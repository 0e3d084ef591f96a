/**
 * A command that opens the folder of a stopped gateway continues as the owner of the store
 * (offline.ts). Files outside that folder are created as the calling user.
 */
export function asCaller<T>(work: () => T): T {
  const [real, effective] = [process.getuid?.(), process.geteuid?.()]
  if (real === undefined || effective === undefined || real === effective) return work()
  const [realGroup, effectiveGroup] = [process.getgid?.() ?? 0, process.getegid?.() ?? 0]
  // In one step of the event loop: nothing else of this process makes files meanwhile.
  process.seteuid?.(real)
  process.setegid?.(realGroup)
  try {
    return work()
  } finally {
    process.setegid?.(effectiveGroup)
    process.seteuid?.(effective)
  }
}
