/** How many tags are remembered at most; the oldest go first. */
export const DEFAULT_MAX_TAGS = 10_000
