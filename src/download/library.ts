import type { Claim } from '../../protocols/claim/codec.ts'
import { MAX_CLAIM_HASHES } from '../../protocols/claim/limits.ts'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../errors.ts'
import type { Host } from '../net/host.ts'
import type { Store, StoredBlob } from '../store/store.ts'
import { signClaim } from '../transfer/claims.ts'
import type { Holding, Library } from '../transfer/transfer.ts'
import { type ClaimBook, same } from './claim-book.ts'
import type { Incoming } from './incoming.ts'

export interface LibraryOptions {
  readonly host: Host
  readonly store: Store
  /** The download of this digest that is under way, if any. */
  readonly incoming: (digest: Digest) => Incoming | undefined
  readonly shared: boolean
}

/** What this node shows its peers: what the store holds whole, and what a download has brought in so far. */
export function createLibrary(options: LibraryOptions): Library {
  const signed = new SignedPages(options.host)
  return {
    async find(digest) {
      const incoming = options.incoming(digest)
      const blob = await options.store.open(digest)
      if (blob === undefined) return undefined
      // content that came with a client's own credentials is not for peers, who bring none
      if (blob.meta.restrictedTo !== undefined && !options.shared) {
        await blob[Symbol.asyncDispose]()
        return undefined
      }
      return createHolding(blob, incoming, signed)
    },
  }
}

function createHolding(blob: StoredBlob, incoming: Incoming | undefined, signed: SignedPages): Holding {
  return {
    size: blob.geometry.size,
    get have() {
      return blob.have
    },
    get complete() {
      return blob.complete
    },
    mediaType: blob.meta.mediaType,
    read: (index, begin, length, { signal }) => blob.readRaw(index, begin, length, { signal }),
    claims: async (first, count) => {
      if (blob.complete) return [await signed.complete(blob, first)]
      if (incoming === undefined) return []
      const own = await signed.imports(blob, incoming.imported, first, count)
      return [...own, ...relayed(incoming.book, first, count, own)]
    },
    recheck: (index) => blob.recheck(index),
    close: async () => blob[Symbol.asyncDispose](),
  }
}

/** What others signed and this node goes by, for pieces that it has no statement of its own about: as little as says it all. */
function relayed(book: ClaimBook, first: number, count: number, own: readonly Claim[]): readonly Claim[] {
  const said = new Set(own.flatMap((claim) => claim.hashes.map((_, i) => claim.first + i)))
  const page: Claim[] = []
  let hashes = 0
  for (const claim of book.about(first, count).toSorted((a, b) => a.hashes.length - b.hashes.length)) {
    if (hashes + claim.hashes.length > 2 * MAX_CLAIM_HASHES) break
    if (!saysMore(claim, book, said, first, count)) continue
    hashes += claim.hashes.length
    for (let i = 0; i < claim.hashes.length; i++) said.add(claim.first + i)
    page.push(claim)
  }
  return page
}

/** Whether the claim is what this node goes by for a piece of the page that nothing has been said of. */
function saysMore(claim: Claim, book: ClaimBook, said: ReadonlySet<number>, first: number, count: number): boolean {
  return claim.hashes.some((hash, i) => {
    const index = claim.first + i
    if (said.has(index) || index < first || index >= first + count) return false
    const word = book.word(index)
    return word !== undefined && same(word.hash, hash)
  })
}

/** Signed pages and runs kept, so that a crowd asking for the same costs one signature. */
const MAX_PAGES = 1_024

/** Signs this node's own statements, a page of pieces at a time. */
class SignedPages {
  readonly #host: Host
  readonly #pages = new Map<string, Promise<Claim>>()

  constructor(host: Host) {
    this.#host = host
  }

  /** That we verified the whole: the page of pieces around `index`. */
  complete(blob: StoredBlob, index: number): Promise<Claim> {
    const first = index - (index % MAX_CLAIM_HASHES)
    return this.#once(`complete ${blob.digest} ${first}`, () => this.#sign(blob, first))
  }

  /** That we imported these pieces ourselves: one claim for each contiguous run. */
  async imports(blob: StoredBlob, imported: ReadonlySet<number>, first: number, count: number): Promise<Claim[]> {
    const claims: Claim[] = []
    const hashes = await blob.hashes(first, count)
    let run: Uint8Array[] = []
    for (let i = 0; i <= hashes.length; i++) {
      const hash = imported.has(first + i) ? hashes[i] : undefined
      if (hash !== undefined) run.push(hash)
      if (run.length > 0 && (hash === undefined || run.length === MAX_CLAIM_HASHES)) {
        const start = first + i + (hash === undefined ? 0 : 1) - run.length
        claims.push(await this.#signImport(blob, start, run))
        run = []
      }
    }
    return claims
  }

  /** A piece may have been brought in anew with other bytes: what is kept is told apart by the hashes. */
  #signImport({ digest, geometry: { size } }: StoredBlob, first: number, hashes: readonly Uint8Array[]): Promise<Claim> {
    const said = hashes.map((hash) => Buffer.from(hash).toString('base64')).join()
    return this.#once(`import ${digest} ${first} ${said}`, () =>
      signClaim(this.#host, { kind: 'import', digest, size, first, hashes }),
    )
  }

  #once(key: string, sign: () => Promise<Claim>): Promise<Claim> {
    const kept = this.#pages.get(key)
    if (kept !== undefined) return kept
    const page = sign()
    this.#pages.set(key, page)
    page.catch(() => this.#pages.delete(key))
    if (this.#pages.size > MAX_PAGES) this.#pages.delete(this.#pages.keys().next().value as string)
    return page
  }

  async #sign(blob: StoredBlob, first: number): Promise<Claim> {
    const page = await blob.hashes(first, Math.min(MAX_CLAIM_HASHES, blob.geometry.pieces - first))
    const hashes = page.filter((hash) => hash !== undefined)
    // the hashes of other pieces in their place would be a lie, signed by us
    if (hashes.length < page.length) throw new ShoalError('STORE_CORRUPT', `${blob.digest} is not held whole any more`)
    return signClaim(this.#host, {
      kind: 'complete',
      digest: blob.digest,
      size: blob.geometry.size,
      first,
      hashes,
    })
  }
}
