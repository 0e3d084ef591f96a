/**
 * The admin server's second door: a socket in the data folder, for the commands of the gateway's
 * own user on its own machine (or in its container). Who may open it may read the store itself: it
 * asks for no token.
 */
export const ADMIN_SOCKET = 'admin.sock'
