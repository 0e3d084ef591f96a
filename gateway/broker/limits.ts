/**
 * Limits and times of the broker that no operator sets: each says why it is what it is. Those that
 * an operator may set are in `MqttLimits`.
 */

/** How often keepalives and time-outs are looked at; one timer for all connections. */
export const SWEEP_INTERVAL_MS = 250

/**
 * If the process was stopped or starved for longer, the clients are not to blame: their clocks are
 * set forward.
 */
export const SWEEP_GAP_MS = 2_000

/**
 * A frame must complete within max(1.5 x keepalive, this): a byte a minute must not hold a
 * connection for ever.
 */
export const MIN_FRAME_TIMEOUT_MS = 60_000

/** After our last bytes a socket gets this long to take them before it is destroyed. */
export const CLOSE_GRACE_MS = 1_000

/** aedes gets this long to read to the end of its input before its side is destroyed. */
export const AEDES_END_GRACE_MS = 1_000

/**
 * A takeover waits so long for the old connection's will and unsubscriptions; they are local and
 * usually take 1 ms.
 */
export const TAKEOVER_GRACE_MS = 5_000

/** Acks that the peer does not read: beyond, we read nothing more from it. 16,000 PUBACKs. */
export const MAX_UNREAD_BYTES = 64 * 1024

/** A peer that reads nothing for so long while we have something for it is gone. */
export const MIN_UNREAD_TIMEOUT_MS = 60_000

/**
 * A connection may always keep so many unread bytes, whatever the others hold: small devices are
 * not starved.
 */
export const HOLD_BACK_FLOOR_BYTES = 2 * 1024

/**
 * So many connections read on to the end of a frame although all together hold their bound: if each
 * held half a frame, nobody could go on. They may hold a packet each beyond the bound.
 */
export const MAX_FINISHING_FRAMES = 4

/** Then another one is given its turn: a peer that trickles must not keep the others. */
export const FINISHING_TURN_MS = 1_000

/** A connection is a device with a handful of topics; gateways of gateways have hundreds. */
export const TOPIC_CACHE_ENTRIES = 256

/**
 * Share of the totals that messages may take that wait for a full stream: the rest is for messages
 * that can go.
 */
export const WAITING_SHARE = 0.5

/** Copies handed to aedes in one turn of the event loop. */
export const COPIES_PER_TURN = 256

/**
 * A subscriber that takes nothing for so long while QoS 1 or 2 copies wait for it is disconnected.
 */
export const SUBSCRIBER_STALL_MS = 5_000

/**
 * A SUBSCRIBE waits so long for the commit of a retained value that was published just before; then
 * the former one goes.
 */
export const RETAINED_WAIT_MS = 5_000
