export const SWARM_PROTOCOL = '/shoal/swarm/1'
/** The longest claim (32 KiB of hashes) and the bitfield of the largest blob (8 KiB) fit, and a stream holds at most this. */
export const MAX_SWARM_MESSAGE_BYTES = 65_536
/** Indices in one `have`; beyond this a new `state` is shorter. */
export const MAX_HAVE_INDICES = 4_096
/** Pieces that one `get-claims` may ask about: one page, so that one question costs the answerer about one claim to sign. */
export const MAX_CLAIMS_PIECES = 1_024
