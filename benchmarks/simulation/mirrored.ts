/**
 * Numbers of the daemon that stand in files the simulator does not run, because decision and I/O are one there: its own
 * versions of those decisions go by these. A test holds each to the file that it comes from.
 */
export const MIRRORED = Object.freeze({
  URGENT_PIECES: 2,
  HOPELESS_MS: 10_000,
  SECONDS_EVERY_MS: 50,
  TICK_MS: 200,
  MAX_RUNS: 2,
  MAX_QUESTIONS: 8,
  SETTLED_MS: 1_500,
  ASK_AGAIN_MS: 1_000,
  SETTLE_MS: 250,
  MEMBER_GRACE_MS: 250,
  HOLDER_GRACE_MS: 1_500,
  MAX_MEMBERS_OFFERED: 32,
  MAX_MEMBERS: 2_000,
  FIRST_BACKOFF_MS: 1_000,
  MAX_BACKOFF_MS: 30_000,
  GRACE_MS: 250,
})

export const SOURCES: Readonly<Record<keyof typeof MIRRORED, string>> = Object.freeze({
  URGENT_PIECES: 'src/download/peer-source.ts',
  HOPELESS_MS: 'src/download/peer-source.ts',
  SECONDS_EVERY_MS: 'src/download/peer-source.ts',
  TICK_MS: 'src/download/session.ts',
  MAX_RUNS: 'src/download/importer.ts',
  MAX_QUESTIONS: 'src/download/inspection.ts',
  SETTLED_MS: 'src/download/inspection.ts',
  ASK_AGAIN_MS: 'src/download/introduction.ts',
  SETTLE_MS: 'src/download/search.ts',
  MEMBER_GRACE_MS: 'src/download/settling.ts',
  HOLDER_GRACE_MS: 'src/download/settling.ts',
  MAX_MEMBERS_OFFERED: 'src/discovery/mesh.ts',
  MAX_MEMBERS: 'src/discovery/zone-view.ts',
  FIRST_BACKOFF_MS: 'src/rendezvous/line.ts',
  MAX_BACKOFF_MS: 'src/rendezvous/line.ts',
  GRACE_MS: 'src/rendezvous/visit.ts',
})
