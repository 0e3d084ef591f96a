/** What happens to the configuration of a gateway that runs. */

export type ConfigEvent =
  /** Another configuration is in force; `keys`: those that differ. */
  | { readonly type: 'config.applied'; readonly keys: readonly string[] }
  /** A file was read and nothing of it applied: what was in force goes on. */
  | { readonly type: 'config.refused'; readonly why: readonly string[] }
  /** Within its probation something failed: the former configuration is in force again. */
  | { readonly type: 'config.went-back'; readonly why: string }
  /** It could not come back. */
  | { readonly type: 'config.stuck'; readonly why: string; readonly detail: string }
  | { readonly type: 'config.log-level'; readonly level: string }
