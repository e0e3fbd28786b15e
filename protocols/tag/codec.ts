import type { Digest } from '../digest.ts'

/** `/shoal/tag/1`: what does this tag mean, as far as you know? One question and one answer on a short stream. */
export interface TagQuestion {
  /** The registry's name, as in image references (`docker.io`). */
  readonly registry: string
  readonly repository: string
  readonly tag: string
}

export type TagAnswer =
  | { readonly known: false }
  | {
      readonly known: true
      readonly digest: Digest
      readonly mediaType: string
      readonly size: number
      /** Milliseconds since the answerer last had it from the registry itself. */
      readonly ageMs: number
    }
