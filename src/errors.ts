import { type ErrorCode, ShoalError } from '../protocols/error.ts'

export { codeOf, type ErrorCode, ShoalError } from '../protocols/error.ts'

/** What the `shoal` command exits with. 130 and 143 are a stop by SIGINT and SIGTERM before the work was done. */
export const EXIT_CODES = Object.freeze({
  ok: { code: 0, meaning: 'done' },
  failed: { code: 1, meaning: 'failed for a reason of its own: read the message' },
  usage: { code: 2, meaning: 'a flag, argument, reference, digest or configuration value is wrong' },
  notFound: { code: 3, meaning: 'there is no such thing: neither here, nor at a peer, nor at the origin' },
  unreachable: { code: 4, meaning: 'no daemon answers on the control address' },
  verification: { code: 5, meaning: 'content did not match its digest; nothing of it was kept' },
  denied: { code: 6, meaning: 'a token or credentials are missing or not accepted' },
  upstream: { code: 7, meaning: 'the origin or the peers failed; trying again later may help' },
  disk: { code: 8, meaning: 'the data directory is full, locked by another daemon, or broken' },
} as const)

export type Exit = keyof typeof EXIT_CODES

export interface ErrorEntry {
  readonly meaning: string
  readonly remedy: string
  /** HTTP status on the control listener. */
  readonly status: number
  readonly exit: Exit
}

/** The one table of everything that can go wrong: a code without a row does not compile. `errors.md` is made from it. */
export const ERRORS: Readonly<Record<ErrorCode, ErrorEntry>> = Object.freeze({
  // what a caller, client or operator gave us
  DIGEST_INVALID: row(400, 'usage', 'not a digest', 'write sha256:<64 lower-case hex> or sha512:<128 lower-case hex>'),
  PEER_ID_INVALID: row(400, 'usage', 'not a peer id', 'write it as shoal peers shows it: 12D3KooW and what follows'),
  RANGE_INVALID: row(416, 'usage', 'the byte range lies outside the blob', 'ask for its size first (HEAD)'),
  REFERENCE_INVALID: row(400, 'usage', 'not an image reference', 'write [registry/]repository[:tag][@digest]'),
  ADDRESS_INVALID: row(400, 'usage', 'not an address of the kind expected', 'see the example in the message'),
  ZONE_INVALID: row(400, 'usage', 'not a zone label', 'write region/zone or region/zone/rack'),
  CONFIG_INVALID: row(
    400,
    'usage',
    'a flag, environment variable or file key is unknown or has a wrong value',
    'the message names it and what is expected',
  ),
  REQUEST_INVALID: row(400, 'usage', 'the request makes no sense', 'see the message'),
  // what a peer sent
  MESSAGE_MALFORMED: row(
    502,
    'upstream',
    'a peer sent bytes that are not a message',
    'nothing: the peer is left; look at its version if it goes on',
  ),
  MESSAGE_TOO_LARGE: row(502, 'upstream', 'a peer sent a message over its limit', 'nothing: the peer is left'),
  CLAIM_INVALID: row(
    502,
    'upstream',
    'a statement about pieces is not signed by its author, or contradicts itself',
    'nothing: the peer is left',
  ),
  PIECE_MISMATCH: row(502, 'verification', 'a piece did not match its hash', 'nothing: it is fetched anew from another source'),
  PEER_UNREACHABLE: row(
    502,
    'upstream',
    'a peer could not be connected to',
    'check its address, and that port 7402 is open between the hosts',
  ),
  PEER_BUSY: row(503, 'upstream', 'a peer has no upload slot free', 'nothing: others are asked'),
  PEER_LACKS_PIECE: row(502, 'upstream', 'a peer does not hold the piece it was asked for', 'nothing: others are asked'),
  PEER_REFUSED: row(
    502,
    'upstream',
    'a peer does not talk to this node or does not speak the protocol',
    'compare versions and access lists',
  ),
  PEER_TIMEOUT: row(504, 'upstream', 'a peer made no progress', 'nothing: others are asked'),
  PEER_GONE: row(502, 'upstream', 'a peer went away in the middle', 'nothing: others are asked'),
  // what the origin did
  ORIGIN_UNREACHABLE: row(
    502,
    'upstream',
    'the origin does not answer, or cut the connection',
    'check the network and --upstream',
  ),
  ORIGIN_TIMEOUT: row(504, 'upstream', 'the origin made no progress', 'try again; check the network'),
  ORIGIN_UNAUTHORIZED: row(401, 'denied', 'the origin wants credentials', 'log the client in to that registry'),
  ORIGIN_FORBIDDEN: row(403, 'denied', 'the origin does not let these credentials see it', 'ask the owner of the repository'),
  ORIGIN_NOT_FOUND: row(404, 'notFound', 'the origin does not have it', 'check the name, tag or digest'),
  ORIGIN_RATE_LIMITED: row(
    429,
    'upstream',
    'the origin limits how often it may be asked',
    'wait as long as Retry-After says; log in for a higher limit',
  ),
  ORIGIN_FAILED: row(
    502,
    'upstream',
    'the origin answered with an error of its own',
    'try again; look at the status in the message',
  ),
  ORIGIN_PROTOCOL: row(
    502,
    'upstream',
    'the origin broke the protocol: wrong length, headers or type',
    'check that the URL is a registry or a plain file server',
  ),
  ORIGIN_REDIRECT: row(502, 'upstream', 'the origin redirects in a loop, too often, or to where it may not', 'check the URL'),
  // the blob
  BLOB_UNKNOWN: row(
    404,
    'notFound',
    'neither this node nor any peer has it, and no origin was given',
    'name an origin, or check the digest',
  ),
  BLOB_TOO_LARGE: row(
    413,
    'failed',
    'larger than a blob may be, or than fits in memory at once',
    'split it; in code use body or saveTo instead of bytes()',
  ),
  DIGEST_MISMATCH: row(
    502,
    'verification',
    'the content is not what its digest names',
    'the origin or its cache is wrong; nothing of it was kept',
  ),
  // this node
  STORE_FULL: row(507, 'disk', 'no room in the data directory', 'free space, or give --data-dir a larger disk'),
  STORE_CORRUPT: row(
    500,
    'disk',
    'bytes on this disk changed',
    'nothing at first: they are fetched anew; if it goes on, replace the disk',
  ),
  STORE_LOCKED: row(500, 'disk', 'another daemon uses this data directory', 'stop it, or choose another --data-dir'),
  STORE_FAILED: row(500, 'disk', 'the disk or file system refused', 'see the cause in the log; check permissions'),
  PEER_NOT_BANNED: row(404, 'notFound', 'there is no ban of this peer', 'nothing: it is dealt with; shoal peers lists the bans'),
  ACCESS_DENIED: row(
    403,
    'denied',
    'this content may not be shown to this caller',
    'pull it through the mirror with credentials that the registry accepts',
  ),
  CONTROL_UNAUTHORIZED: row(
    401,
    'denied',
    'the control listener wants its token',
    'give --control-token-file or SHOAL_CONTROL_TOKEN_FILE',
  ),
  DAEMON_UNREACHABLE: row(
    503,
    'unreachable',
    'no daemon answers on the control address',
    'start one with shoal daemon, or give --control HOST:PORT',
  ),
  NODE_CLOSED: row(503, 'unreachable', 'the node is stopping', 'try again once it is up'),
} satisfies Record<ErrorCode, ErrorEntry>)

/** HTTP status for a code; 500 for an error that is not ours. */
export function statusOf(code: ErrorCode | undefined): number {
  return code === undefined ? 500 : ERRORS[code].status
}

/** Exit code of the `shoal` command for a code; 1 for an error that is not ours. */
export function exitCodeOf(code: ErrorCode | undefined): number {
  return EXIT_CODES[code === undefined ? 'failed' : ERRORS[code].exit].code
}

export function isErrorCode(text: unknown): text is ErrorCode {
  return typeof text === 'string' && Object.hasOwn(ERRORS, text)
}

/** An error as it goes over HTTP and into `--json`: what is not ours keeps its message to itself. */
export function describeError(error: unknown): { code: ErrorCode | 'INTERNAL'; message: string } {
  if (error instanceof ShoalError) return { code: error.code, message: error.message }
  return { code: 'INTERNAL', message: 'internal error: see the log of the daemon' }
}

/** Both tables as Markdown: what `errors.md` holds. */
export function errorsTable(): string {
  const exits = Object.values(EXIT_CODES).map((e) => `| ${e.code} | ${e.meaning} |`)
  const rows = Object.entries(ERRORS).map(
    ([code, e]) => `| \`${code}\` | ${e.meaning} | ${e.remedy} | ${e.status} | ${EXIT_CODES[e.exit].code} |`,
  )
  return [
    '# Errors',
    '',
    'Made from the table in `errors.ts`; a test keeps it so. Branch on the code, never on the message. Over HTTP an error is',
    '`{ "error": { "code": …, "message": … } }`; the mirror answers in the registry\'s own format and with the statuses its clients expect.',
    '',
    '| code | meaning | what to do | HTTP | exit |',
    '| --- | --- | --- | --- | --- |',
    ...rows,
    '',
    '## Exit codes of `shoal`',
    '',
    '| exit | meaning |',
    '| --- | --- |',
    ...exits,
    '| 130, 143 | stopped by SIGINT, SIGTERM before it was done |',
    '',
  ].join('\n')
}

function row(status: number, exit: Exit, meaning: string, remedy: string): ErrorEntry {
  return { meaning, remedy, status, exit }
}
