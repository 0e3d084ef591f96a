/** What became of a frame: the answer of the part that took it. */

/** It is done with. */
export const TAKEN = 0
/** Not looked at yet: the connection is at its bounds, and the frame is offered again. */
export const HOLD = 1
/** The connection was closed over it. */
export const CLOSED = 2

export type FrameOutcome = typeof TAKEN | typeof HOLD | typeof CLOSED
