/** A whole message: what the bounds below allow together fits. Gossip carries it to every member. */
export const MAX_ZONE_MESSAGE_BYTES = 32_768
/** What one member can put into everybody's zone view. */
export const MAX_ADDRESSES = 16
export const MAX_ADDRESS_BYTES = 256
export const MAX_ROLES = 8
export const MAX_ROLE_BYTES = 32
export const MAX_VERSION_BYTES = 64
/** Three parts of 63 characters and two slashes. */
export const MAX_LABEL_BYTES = 191
/** Digests in one news message, added and removed together: what a member holds is told over many messages, not in one. */
export const MAX_NEWS_DIGESTS = 256
/** An origin's name, as long as the grammar of `reference.ts` allows. */
export const MAX_ORIGIN_BYTES = 255
/** A pause that was only told of: what a lie about an origin can cost. */
export const MAX_PAUSE_MS = 60_000
