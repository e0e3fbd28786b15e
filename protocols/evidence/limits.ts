export const EVIDENCE_PROTOCOL = '/shoal/evidence/1'
/** One claim that others can check, or two that contradict each other. */
export const MAX_EVIDENCE_CLAIMS = 2
/** Two of the longest claims (1,024 hashes, a SHA-512 digest, the longest author) with their count. */
export const MAX_EVIDENCE_MESSAGE_BYTES = 65_957
