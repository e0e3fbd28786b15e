export const TAG_PROTOCOL = '/shoal/tag/1'
/** A question or an answer: the longest is a question of 645 bytes. */
export const MAX_TAG_MESSAGE_BYTES = 1_024
/** As long as the grammars of `reference.ts` allow. */
export const MAX_REGISTRY_BYTES = 255
export const MAX_REPOSITORY_BYTES = 255
export const MAX_TAG_BYTES = 128
