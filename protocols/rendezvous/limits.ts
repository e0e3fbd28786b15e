export const RENDEZVOUS_PROTOCOL = '/shoal/rendezvous/1'
/** What a member sends: the longest `ask` about a SHA-512 fits, and a `register` with the longest addresses. */
export const MAX_MEMBER_MESSAGE_BYTES = 2_048
/** What a rendezvous sends: the longest `members` fits. */
export const MAX_RENDEZVOUS_MESSAGE_BYTES = 36_864
/** Desks of one blob in one zone: a weight has so many times four bytes. */
export const MAX_DESKS = 8
/** Peers in one `members`: enough to keep a large swarm connected, few enough to be told of at once. */
export const MAX_MEMBERS = 32
export const MAX_PEER_ADDRESSES = 4
export const MAX_ADDRESS_BYTES = 255
/** A peer id in base58 has 46 or 52 characters today. */
export const MAX_PEER_ID_BYTES = 64
/** Ranges in one `ask`: what is missing beyond them is asked for later. */
export const MAX_RANGES = 64
/** No `wait` and no pause after a failure is longer. */
export const MAX_WAIT_MS = 30_000
