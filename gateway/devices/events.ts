/** What the device table tells the world. */
export type DevicesEvent =
  /** What was kept of the table cannot be read: it begins anew (I7). */
  | { readonly type: 'devices.table-discarded'; readonly path: string; readonly detail: string }
  | { readonly type: 'devices.table-not-written'; readonly path: string; readonly detail: string }
  /** Told to the stream as a record, too; so is the return. */
  | {
      readonly type: 'devices.silent'
      readonly device: string
      readonly stream: string
      readonly lastTopic: string
    }
  | { readonly type: 'devices.back'; readonly device: string; readonly stream: string }

export type EmitDevicesEvent = (event: DevicesEvent) => void
