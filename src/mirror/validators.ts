import type { Digest } from '../../protocols/digest.ts'

/** The entity tag of content: its digest, quoted. Content with this name never changes, so it is strong. */
export function etagOf(digest: Digest): string {
  return `"${digest}"`
}

/** Whether `If-None-Match` names this content (weak comparison; clients also forget the quotes). */
export function noneMatchNames(header: string | undefined, digest: Digest): boolean {
  if (header === undefined) return false
  return header.split(',').some((part) => {
    const tag = part.trim()
    return tag === '*' || tag.replace(/^W\//, '').replace(/^"(.*)"$/, '$1') === String(digest)
  })
}

/** Whether a range may be answered: without `If-Range`, or when it names this content strongly (RFC 9110, 13.1.5). */
export function rangeStillMeant(ifRange: string | undefined, digest: Digest): boolean {
  return ifRange === undefined || ifRange.trim() === etagOf(digest) || ifRange.trim() === String(digest)
}
