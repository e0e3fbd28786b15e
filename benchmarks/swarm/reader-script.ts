import type { ImageBlob } from '../../examples/demo/image.ts'
import { type Client, TELL_USAGE } from './client.ts'
import { REGISTRY } from './host-daemon.ts'
import { REPOSITORY, TAG } from './origin.ts'

/** One answer as a client got it. */
export interface Transfer {
  readonly digest: string
  readonly bytes: number
  /** From asking for it on. */
  readonly firstByteS: number
  readonly totalS: number
  /** `undefined` when the client believes that it has all of it. */
  readonly problem: string | undefined
  /** SHA-256 in hex of the whole that the client had at the end of this answer, where it hashes. */
  readonly sha256: string | undefined
}

export interface Wanted {
  readonly mirror: string
  readonly image: boolean
  readonly blobs: readonly ImageBlob[]
  readonly check: boolean
  /** A file's name for what is hashed. */
  readonly scratch: string
  /** For all of it. */
  readonly timeoutS: number
}

/** As many as containerd asks for at once. */
const AT_ONCE = 3
const ACCEPT = 'application/vnd.oci.image.manifest.v1+json'
/** How often one pull asks again for the rest of a body that was cut. */
const RESUMES = 5
/** How often it starts anew after the digest was wrong. */
const PULLS = 3

/** curl. */
export function httpClient(wanted: Wanted): Client {
  return { script: readerScript(wanted), transfers: (lines) => parseTransfers(lines.map(({ text }) => text).join('\n')) }
}

/**
 * A shell script that waits for a line, and then reads as containerd does: the tag's HEAD, the manifest, and the blobs, a few at
 * once. Prints a line of JSON for each answer.
 */
export function readerScript({ mirror, image, blobs, check, scratch, timeoutS }: Wanted): string {
  const curl = `curl -sS --max-time ${Math.ceil(timeoutS)}`
  const base = `${mirror}/v2/${REGISTRY}/${REPOSITORY}`
  const tag = `${curl} -f -o /dev/null -H 'accept: ${ACCEPT}'`
  const head = image ? [`${tag} -I ${base}/manifests/${TAG} || exit 1`, `${tag} ${base}/manifests/${TAG} || exit 1`] : []
  const bodies = check
    ? blobs.map((blob) => checked(curl, `${base}/blobs/${blob.digest}`, blob, scratch))
    : [unchecked(curl, base, blobs)]
  return [TELL_USAGE, 'read _', ...head, ...bodies].join('\n')
}

function unchecked(curl: string, base: string, blobs: readonly ImageBlob[]): string {
  const each = blobs.map(({ digest }) => `-o /dev/null ${base}/blobs/${digest}`)
  const parallel = blobs.length > 1 ? `-Z --parallel-max ${AT_ONCE} ` : ''
  return `${curl} ${parallel}-w '%{json}\\n' ${each.join(' ')}`
}

/** As containerd: what was cut is resumed where it ended, and a wrong digest ends a pull, which the kubelet then tries again. */
function checked(curl: string, url: string, { digest }: ImageBlob, scratch: string): string {
  return `for pull in $(seq ${PULLS}); do
  rm -f ${scratch}
  for part in $(seq ${RESUMES}); do ${curl} -f -C - -o ${scratch} -w '%{json}\\n' ${url} && break; done
  sum=$(sha256sum < ${scratch}) && echo "$sum"
  case $sum in ${digest.hex}*) break;; esac
done
rm -f ${scratch}`
}

interface CurlSummary {
  readonly url: string
  readonly http_code: number
  readonly exitcode: number
  readonly errormsg: string | null
  readonly size_download: number
  readonly time_starttransfer: number
  readonly time_total: number
}

/** @param output of the script */
export function parseTransfers(output: string): Transfer[] {
  const transfers: Transfer[] = []
  for (const line of output.split('\n')) {
    // who was killed may have been in the middle of a line
    if (line.startsWith('{') && line.endsWith('}')) transfers.push(transferOf(JSON.parse(line) as CurlSummary))
    const sha256 = /^([0-9a-f]{64}) {2}-$/.exec(line)?.[1]
    const last = transfers.at(-1)
    if (sha256 !== undefined && last !== undefined) transfers.splice(-1, 1, { ...last, sha256 })
  }
  return transfers
}

function transferOf(summary: CurlSummary): Transfer {
  const { url, http_code, exitcode, errormsg, size_download, time_starttransfer, time_total } = summary
  const digest = url.slice(url.lastIndexOf('/') + 1)
  const ok = http_code === 200 || http_code === 206
  const problem = !ok ? `status ${http_code}` : exitcode !== 0 ? (errormsg ?? `curl ended with ${exitcode}`) : undefined
  return { digest, bytes: size_download, firstByteS: time_starttransfer, totalS: time_total, problem, sha256: undefined }
}

/** Whether a client that has had these answers has a blob whole, as far as it can tell. */
export function hasWhole(
  transfers: readonly Transfer[],
  { digest, size }: Pick<ImageBlob, 'digest' | 'size'>,
  check: boolean,
): boolean {
  const own = transfers.filter((each) => each.digest === String(digest))
  if (check) return own.some(({ sha256 }) => sha256 === digest.hex)
  return own.some(({ bytes, problem }) => bytes === size && problem === undefined)
}

/** Answers that seemed complete to their client, in one go, and were not the content. */
export function wrongWholes(transfers: readonly Transfer[], blobs: readonly Pick<ImageBlob, 'digest' | 'size'>[]): number {
  return transfers.filter(({ digest, bytes, problem, sha256 }) => {
    const blob = blobs.find((each) => String(each.digest) === digest)
    return (
      blob !== undefined && problem === undefined && bytes === blob.size && sha256 !== undefined && sha256 !== blob.digest.hex
    )
  }).length
}
