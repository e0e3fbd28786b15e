import type { IncomingHttpHeaders } from 'node:http'
import type { Digest } from '../../protocols/digest.ts'
import type { OpenBlob } from '../download/download.ts'
import type { Authorization, Via } from '../origin/origin.ts'
import type { BlobMeta } from '../store/store.ts'
import type { Access, RegistrySource } from './access.ts'
import type { Cuts } from './cuts.ts'
import { within } from './deadline.ts'
import type { MirrorBackend } from './mirror.ts'
import type { Tags } from './tags.ts'

/** A request for something of a repository, as one client makes it. */
export interface Asked {
  readonly registry: string
  readonly repository: string
  readonly authorization: Authorization | undefined
  /** Through whom it came here. */
  readonly via: Via | undefined
  readonly head: boolean
  /** Whether the client has other hosts to go to for this very request (containerd does, and says `ns`). */
  readonly hasFallback: boolean
  readonly headers: IncomingHttpHeaders
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal
}

/** containerd 2.3 waits 30 s for headers. */
const HEADERS_TIMEOUT_MS = 25_000

/** What the answers are made from. */
export class Serving {
  readonly backend: MirrorBackend
  readonly access: Access
  readonly tags: Tags
  readonly cuts: Cuts

  constructor(parts: { backend: MirrorBackend; access: Access; tags: Tags; cuts: Cuts }) {
    this.backend = parts.backend
    this.access = parts.access
    this.tags = parts.tags
    this.cuts = parts.cuts
  }

  /**
   * Opens a blob that this client may see, soon enough for its headers. Whether it may is asked when it is open: only then does
   * a download that others share know whose credentials it needed.
   * @throws ShoalError
   */
  async open(asked: Asked & { kind: RegistrySource['kind'] }, digest: Digest): Promise<OpenBlob> {
    const open = async (signal: AbortSignal) => {
      const blob = await this.backend.open(digest, { origin: sourceOf(asked), signal })
      try {
        await this.require({ ...asked, signal }, digest, blob)
        signal.throwIfAborted()
        return blob
      } catch (error) {
        await blob[Symbol.asyncDispose]()
        throw error
      }
    }
    return await within(HEADERS_TIMEOUT_MS, `${asked.registry}, and every peer,`, open, { signal: asked.signal })
  }

  /** @throws ShoalError when this client may not see the content, as far as is known now */
  async require(
    asked: Asked & { kind: RegistrySource['kind'] },
    digest: Digest,
    ...seen: readonly ({ readonly meta: BlobMeta } | undefined)[]
  ): Promise<void> {
    const metas = [...seen.map((blob) => blob?.meta), this.backend.active(digest)]
    await this.access.require(sourceOf(asked), digest, metas, { signal: asked.signal })
  }
}

function sourceOf({ registry, repository, kind, authorization, via }: Asked & { kind: RegistrySource['kind'] }): RegistrySource {
  return { type: 'registry', registry, repository, kind, authorization, via }
}
