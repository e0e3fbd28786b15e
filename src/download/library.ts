import type { Claim } from '../../protocols/claim/codec.ts'
import { MAX_CLAIM_HASHES } from '../../protocols/claim/limits.ts'
import type { Digest } from '../../protocols/digest.ts'
import type { Host } from '../net/host.ts'
import type { Store, StoredBlob } from '../store/store.ts'
import { signClaim } from '../transfer/claims.ts'
import type { Holding, Library } from '../transfer/transfer.ts'
import type { ClaimBook } from './claim-book.ts'
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
      return [...(await signed.imports(blob, incoming.imported, first, count)), ...relayed(incoming.book, first, count)]
    },
    recheck: (index) => blob.recheck(index),
    close: async () => blob[Symbol.asyncDispose](),
  }
}

/** What others signed, for those that can't reach them: a bounded page of it. */
function relayed(book: ClaimBook, first: number, count: number): readonly Claim[] {
  const page: Claim[] = []
  let hashes = 0
  for (const claim of book.about(first, count)) {
    hashes += claim.hashes.length
    if (hashes > 2 * MAX_CLAIM_HASHES || page.length >= MAX_CLAIM_HASHES) break
    page.push(claim)
  }
  return page
}

/** Pages of complete claims kept, so that a crowd asking for the same costs one signature. */
const MAX_PAGES = 256

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
    const key = `${blob.digest} ${first}`
    const kept = this.#pages.get(key)
    if (kept !== undefined) return kept
    const page = this.#sign(blob, first)
    this.#pages.set(key, page)
    page.catch(() => this.#pages.delete(key))
    if (this.#pages.size > MAX_PAGES) this.#pages.delete(this.#pages.keys().next().value as string)
    return page
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
        claims.push(
          await signClaim(this.#host, {
            kind: 'import',
            digest: blob.digest,
            size: blob.geometry.size,
            first: start,
            hashes: run,
          }),
        )
        run = []
      }
    }
    return claims
  }

  async #sign(blob: StoredBlob, first: number): Promise<Claim> {
    const hashes = await blob.hashes(first, Math.min(MAX_CLAIM_HASHES, blob.geometry.pieces - first))
    return signClaim(this.#host, {
      kind: 'complete',
      digest: blob.digest,
      size: blob.geometry.size,
      first,
      hashes: hashes.filter((hash) => hash !== undefined),
    })
  }
}
