import type { ImageBlob } from '../../examples/demo/image.ts'
import { type Client, type Line, TELL_USAGE } from './client.ts'
import type { Containerd } from './containerd.ts'
import { REGISTRY } from './host-daemon.ts'
import { REPOSITORY, TAG } from './origin.ts'
import type { Transfer } from './reader-script.ts'

export interface CtrOptions {
  readonly containerd: Pick<Containerd, 'address' | 'hostsDir'>
  readonly blobs: readonly ImageBlob[]
  /** For all of it. */
  readonly timeoutS: number
}

/** What the script prints when `ctr` says that all is there. */
const WHOLE = 'whole'

/**
 * `ctr`, which has its host's containerd fetch the image: tag, manifest, and all blobs at once, each checked against its digest. It
 * does not unpack: that would be a measure of the disk.
 */
export function ctrClient({ containerd: { address, hostsDir }, blobs, timeoutS }: CtrOptions): Client {
  const fetch = `ctr --debug --address ${address} content fetch --plain-http --hosts-dir ${hostsDir}`
  return {
    script: `${TELL_USAGE}
read _
timeout ${Math.ceil(timeoutS)} ${fetch} ${REGISTRY}/${REPOSITORY}:${TAG} 2>&1 && echo ${WHOLE}`,
    transfers: (lines) => transfersOf(lines, blobs),
  }
}

/** From what it logs of each request; it logs when an answer begins, and ends when the last has ended. */
function transfersOf(lines: readonly Line[], blobs: readonly ImageBlob[]): Transfer[] {
  const end = lines.find(({ text }) => text === WHOLE)
  const complaint = lines.findLast(({ text }) => text.startsWith('ctr: '))?.text
  return blobs.flatMap(({ digest, size }) => {
    const asked = timeOf(lines, 'do request', digest)
    if (asked === undefined) return []
    const answered = timeOf(lines, 'fetch response received', digest)
    const firstByteS = ((answered ?? Number.NaN) - asked) / 1_000
    const common = { digest: String(digest), firstByteS }
    if (end === undefined)
      return { ...common, bytes: 0, totalS: Number.NaN, problem: complaint ?? 'ctr did not end', sha256: undefined }
    return { ...common, bytes: size, totalS: (end.at - asked) / 1_000, problem: undefined, sha256: digest.hex }
  })
}

function timeOf(lines: readonly Line[], what: string, digest: unknown): number | undefined {
  return lines.find(({ text }) => text.includes(` msg="${what}" digest="${digest}" `))?.at
}
