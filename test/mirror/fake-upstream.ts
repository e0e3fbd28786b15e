import { type Digest, digestOf } from '../../protocols/digest.ts'
import { ShoalError } from '../../src/errors.ts'
import type { MirrorBackend } from '../../src/mirror/mirror.ts'
import type { ManifestHead, Origin, OriginSource } from '../../src/origin/origin.ts'

export interface Repository {
  /** The Authorization that it wants; `undefined`: anybody's. */
  readonly wants?: string
  /** What it answers to credentials that it does not accept. */
  readonly refusal?: 'ORIGIN_FORBIDDEN' | 'ORIGIN_NOT_FOUND'
  readonly content: Map<string, { readonly bytes: Uint8Array; readonly mediaType: string | undefined }>
  readonly tags: Map<string, Digest>
  /** Says yes to every HEAD, as a registry that lies would. */
  readonly liesInHead?: boolean
}

type Call = 'open' | 'resolveTag' | 'permits' | 'relay' | 'challenge'

/** Registries in memory that keep count of what they were asked, and fail or hang when told to. */
export class FakeUpstream {
  readonly repositories = new Map<string, Repository>()
  readonly calls: { readonly call: Call; readonly what: string; readonly authorization: string | undefined }[] = []
  failure: ShoalError | undefined
  /** Awaited before each answer. */
  before: (call: Call) => Promise<void> = async () => {}
  /** Who gets past `/v2/` of every registry, and what others are told there. */
  ping: { readonly wants: string; readonly challenge: string } | undefined
  relayed: Awaited<ReturnType<MirrorBackend['origin']['relay']>> | undefined

  repository(name: string, options: Omit<Partial<Repository>, 'content' | 'tags'> = {}): Repository {
    const repository = { ...options, content: new Map(), tags: new Map() }
    this.repositories.set(name, repository)
    return repository
  }

  count(call: Call): number {
    return this.calls.filter((c) => c.call === call).length
  }

  readonly origin: MirrorBackend['origin'] = {
    open: async (source, digest, range) => {
      const { repository, authorization } = await this.#enter('open', source, String(digest))
      const found = admitted(repository, authorization).content.get(String(digest))
      if (found === undefined) throw new ShoalError('ORIGIN_NOT_FOUND', `${digest} is not there`)
      const bytes = found.bytes.subarray(range.start, range.end)
      return {
        size: found.bytes.length,
        start: range.start,
        ranged: true,
        mediaType: found.mediaType,
        usedAuthorization: repository?.wants !== undefined,
        body: (async function* () {
          yield bytes
        })(),
        cancel() {},
      }
    },
    permits: async (source, digest) => {
      const { repository, authorization } = await this.#enter('permits', source, String(digest))
      if (repository?.liesInHead) return true
      if (repository === undefined || (repository.wants !== undefined && repository.wants !== authorization)) return false
      return repository.content.has(String(digest))
    },
    challenge: async ({ registry, authorization }) => {
      this.calls.push({ call: 'challenge', what: registry, authorization })
      await this.before('challenge')
      if (this.failure !== undefined) throw this.failure
      return this.ping?.wants === authorization ? undefined : this.ping?.challenge
    },
    relay: async (request) => {
      this.calls.push({ call: 'relay', what: request.path, authorization: request.authorization })
      await this.before('relay')
      if (this.failure !== undefined) throw this.failure
      return this.relayed ?? { status: 404, headers: {}, body: (async function* () {})() }
    },
  }

  async resolveTag(...[reference]: Parameters<Origin['resolveTag']>): Promise<ManifestHead> {
    const source = { type: 'registry', kind: 'manifest', ...reference } as const
    const { repository, authorization } = await this.#enter('resolveTag', source, reference.tag)
    const { tags, content, wants } = admitted(repository, authorization)
    const digest = tags.get(reference.tag)
    const found = digest === undefined ? undefined : content.get(String(digest))
    if (digest === undefined || found === undefined) throw new ShoalError('ORIGIN_NOT_FOUND', `no tag ${reference.tag}`)
    return {
      digest,
      size: found.bytes.length,
      mediaType: found.mediaType ?? 'application/octet-stream',
      usedAuthorization: wants !== undefined,
    }
  }

  async #enter(call: Call, source: OriginSource, what: string) {
    if (source.type !== 'registry') throw new TypeError('a registry is asked')
    const { registry, repository, authorization } = source
    this.calls.push({ call, what: `${registry}/${repository} ${what}`, authorization })
    await this.before(call)
    if (this.failure !== undefined) throw this.failure
    return { repository: this.repositories.get(`${registry}/${repository}`), authorization }
  }
}

export const CHALLENGE = 'Bearer realm="https://auth.example/token",service="reg.example",scope="repository:team/app:pull"'

function admitted(repository: Repository | undefined, authorization: string | undefined): Repository {
  if (repository === undefined) throw new ShoalError('ORIGIN_NOT_FOUND', 'no such repository')
  if (repository.wants === undefined || repository.wants === authorization) return repository
  if (repository.refusal !== undefined) throw new ShoalError(repository.refusal, 'not with these credentials')
  throw new ShoalError('ORIGIN_UNAUTHORIZED', 'credentials are wanted', { detail: { challenge: CHALLENGE } })
}

/** Puts content into a repository. @returns its digest */
export function push(
  repository: Repository,
  bytes: Uint8Array | string,
  options: { mediaType?: string; tag?: string } = {},
): Digest {
  const content = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
  const digest = digestOf(content)
  repository.content.set(String(digest), { bytes: content, mediaType: options.mediaType })
  if (options.tag !== undefined) repository.tags.set(options.tag, digest)
  return digest
}

export const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

/** A manifest as umoci writes it: without a mediaType of its own. */
export function manifestOf(text: string): string {
  return JSON.stringify({ schemaVersion: 2, config: {}, layers: [], annotations: { text } })
}
