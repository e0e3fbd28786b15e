export const PIECE_PROTOCOL = '/shoal/piece/1'

/** An encoded claim in a head: some 120 pieces' hashes. Longer ones are asked for on the control stream, once for all their pieces. */
export const MAX_HEAD_CLAIM_BYTES = 4_096

/** Type, id and length of a data frame. */
export const DATA_HEADER_BYTES = 9

/**
 * Payload of one data frame: with its header it fills one write of four full Noise frames behind one yamux header
 * (4 × 65,519 - 12 bytes), so that no write costs a fifth, nearly empty one.
 */
export const MAX_DATA_BYTES = 4 * 65_519 - 12 - DATA_HEADER_BYTES
