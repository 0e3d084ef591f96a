/**
 * Limits and times of the broker that no operator sets: each says why it is what it is. Those that
 * an operator may set are in `MqttLimits`.
 */

/** The least Receive Maximum that a client of MQTT 5 is granted, however full the spool is. */
export const LEAST_RECEIVE_MAXIMUM = 10

/** Of what of `maxUnackedMessagesTotal` is not granted yet, one connection gets this share at most. */
export const RECEIVE_MAXIMUM_SHARE = 0.1

/** How often keepalives and time-outs are checked; one timer for all connections. */
export const SWEEP_INTERVAL_MS = 250

/**
 * If the process was stopped or starved for longer, the clients are not to blame: their clocks are
 * set forward.
 */
export const SWEEP_GAP_MS = 2_000

/**
 * A frame must complete within max(1.5 x keepalive, this): a byte a minute must not hold
 * a connection open.
 */
export const MIN_FRAME_TIMEOUT_MS = 60_000

/**
 * After our last bytes a socket gets this long to take them, and a peer that we close its half to
 * close, before it is destroyed. It counts against `maxConnections` until then.
 */
export const CLOSE_GRACE_MS = 1_000

/**
 * So much of what a peer sends behind our last bytes is read and thrown away, so that they arrive:
 * the rest of a packet that is too large. One that sends more is cut off.
 */
export const MAX_DISCARDED_BYTES = 16 * 1024 * 1024

/**
 * How long a takeover waits for the old connection's will and unsubscriptions, which are local and
 * usually take 1 ms.
 */
export const TAKEOVER_GRACE_MS = 5_000

/** Bytes that the peer has not read, 16,000 PUBACKs: beyond, nothing more is read from it. */
export const MAX_UNREAD_BYTES = 64 * 1024

/** A peer that reads nothing for this long while something waits for it is gone. */
export const MIN_UNREAD_TIMEOUT_MS = 60_000

/**
 * A connection may always hold back this much, whatever the others hold: small devices are not
 * starved.
 */
export const HOLD_BACK_FLOOR_BYTES = 2 * 1024

/**
 * This many connections read on to the end of a frame although all together hold their bound: if
 * each held half a frame, none could go on. They may hold a packet each beyond the bound.
 */
export const MAX_FINISHING_FRAMES = 4

/**
 * How long each of them has before another one gets its turn: a peer that trickles must not keep
 * the others waiting.
 */
export const FINISHING_TURN_MS = 1_000

/** A connection is a device with a handful of topics; gateways of gateways have hundreds. */
export const TOPIC_CACHE_ENTRIES = 256

/**
 * Share of the totals for messages that wait for a full stream; the rest is for messages that need
 * not wait.
 */
export const WAITING_SHARE = 0.5

/** Copies handed over in one turn of the event loop. */
export const COPIES_PER_TURN = 256

/**
 * A subscriber that takes nothing for this long while QoS 1 or 2 copies wait for it is disconnected.
 */
export const SUBSCRIBER_STALL_MS = 5_000

/**
 * How long a SUBSCRIBE waits for the commit of a retained value that was published just before; then
 * it gets the former value.
 */
export const RETAINED_WAIT_MS = 5_000
