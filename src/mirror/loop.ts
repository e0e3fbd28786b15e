/** What a chain of mirrors may say of itself: each adds some 60 characters. */
const MAX_VIA_LENGTH = 1024

/** Whether a request came through this mirror before, or through so many that it would never end. @param own what this node calls itself */
export function isLoop(via: string | undefined, own: string | undefined): boolean {
  if (via === undefined || own === undefined) return false
  return via.length > MAX_VIA_LENGTH || via.split(/[\s,]+/).includes(own)
}
