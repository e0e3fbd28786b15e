/** What things cost a host's CPU, in milliseconds. The one table; where each figure comes from stands beside it. */
export const COSTS = Object.freeze({
  /** A new connection, at each end: TCP, Noise, yamux, identify. measure-costs.ts: 6.0 to 7.4. */
  connection: 6,
  /** One small message at the end that sends it, encoded and enciphered by itself. measure-costs.ts: 0.12 to 0.15. */
  send: 0.13,
  /** One small message at the end that gets it. measure-costs.ts: 0.12 to 0.16. */
  receive: 0.13,
  /** Each peer named in a `members` message, at either end: its addresses are text. Estimated. */
  namedPeer: 0.01,
  /** A MiB at its holder: 2.2 s/GiB (results/transfer.md). */
  servedMiB: 2_200 / 1_024,
  /** A MiB at its fetcher: received, hashed twice, written; 5.7 s/GiB (results/transfer.md). */
  fetchedMiB: 5_700 / 1_024,
  /** A MiB from the origin: without Noise, so less than that. Estimated. */
  importedMiB: 4_000 / 1_024,
})

/** Ethernet, IP and TCP headers on top of each byte (measured in the rig: 95.6 % of a link carries content). */
export const HEADERS = 1.046
