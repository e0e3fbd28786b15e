import type { ImageBlob } from '../../examples/demo/image.ts'
import { REGISTRY } from './host-daemon.ts'
import { REPOSITORY, TAG } from './origin.ts'

/** One body as a client got it. */
export interface Transfer {
  readonly digest: string
  readonly bytes: number
  /** From asking for it on. */
  readonly firstByteS: number
  readonly totalS: number
  /** `undefined` when the client believes that it has all of it. */
  readonly problem: string | undefined
}

export interface Wanted {
  readonly mirror: string
  readonly image: boolean
  readonly blobs: readonly ImageBlob[]
  readonly check: boolean
  readonly timeoutS: number
}

/** As many as containerd asks for at once. */
const AT_ONCE = 3
const ACCEPT = 'application/vnd.oci.image.manifest.v1+json'

/**
 * A shell script that waits for a line, and then reads as containerd does: the tag's HEAD, the manifest, and the blobs, a few at
 * once. Prints a line of JSON for each.
 */
export function readerScript({ mirror, image, blobs, check, timeoutS }: Wanted): string {
  const curl = `curl -sS --max-time ${Math.ceil(timeoutS)}`
  const base = `${mirror}/v2/${REGISTRY}/${REPOSITORY}`
  const tag = `${curl} -f -o /dev/null -H 'accept: ${ACCEPT}'`
  const head = image ? [`${tag} -I ${base}/manifests/${TAG} || exit 1`, `${tag} ${base}/manifests/${TAG} || exit 1`] : []
  return ['read _', ...head, check ? checked(curl, base, blobs) : unchecked(curl, base, blobs)].join('\n')
}

function unchecked(curl: string, base: string, blobs: readonly ImageBlob[]): string {
  const each = blobs.map(({ digest }) => `-o /dev/null ${base}/blobs/${digest}`)
  const parallel = blobs.length > 1 ? `-Z --parallel-max ${AT_ONCE} ` : ''
  return `exec ${curl} ${parallel}-w '%{json}\\n' ${each.join(' ')}`
}

/** One after the other, with what `sha256sum` says after each. */
function checked(curl: string, base: string, blobs: readonly ImageBlob[]): string {
  return blobs.map(({ digest }) => `{ ${curl} -f -w '%{stderr}%{json}\\n' ${base}/blobs/${digest} | sha256sum; } 2>&1`).join('\n')
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
export function parseTransfers(output: string, blobs: readonly ImageBlob[]): Transfer[] {
  const lines = output.split('\n')
  const summaries = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as CurlSummary)
  const hashes = lines.map((line) => /^([0-9a-f]{64}) {2}-$/.exec(line)?.[1]).filter((hex) => hex !== undefined)
  return summaries.map((summary, i) => transferOf(summary, hashes[i], blobs))
}

function transferOf(summary: CurlSummary, hash: string | undefined, blobs: readonly ImageBlob[]): Transfer {
  const { url, http_code, exitcode, errormsg, size_download, time_starttransfer, time_total } = summary
  const digest = url.slice(url.lastIndexOf('/') + 1)
  const wanted = blobs.find((blob) => String(blob.digest) === digest)
  const transfer = { digest, bytes: size_download, firstByteS: time_starttransfer, totalS: time_total }
  if (http_code !== 200) return { ...transfer, problem: `status ${http_code}` }
  if (exitcode !== 0) return { ...transfer, problem: errormsg ?? `curl ended with ${exitcode}` }
  const wrong = hash !== undefined && hash !== wanted?.digest.hex
  return { ...transfer, problem: wrong ? 'wrong bytes' : undefined }
}
