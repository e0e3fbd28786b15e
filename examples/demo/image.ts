/** A multi-layer OCI image made of nothing but a seed: the same seed gives the same bytes on every machine. */
import { createCipheriv, createHash, hash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { gzipSync } from 'node:zlib'
import { Digest, digestOf } from '../../protocols/digest.ts'

export interface ImageBlob {
  readonly digest: Digest
  readonly size: number
  readonly mediaType: string
  /** Bytes `start` to `end` (exclusive); made as they are read, so that a layer of any size costs no memory. */
  read(start?: number, end?: number): Iterable<Uint8Array>
}

export interface Image {
  readonly manifest: ImageBlob
  readonly config: ImageBlob
  readonly layers: readonly ImageBlob[]
  /** The config and each layer, by digest. */
  readonly blobs: ReadonlyMap<string, ImageBlob>
}

export interface ImageOptions {
  readonly seed: string
  /** Bytes of the file in each layer; the layer is a little larger. */
  readonly layerBytes: readonly number[]
  /** gzip the layers, as builders do; they are held in memory then, so at most 64 MiB each. */
  readonly gzip?: boolean
}

const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'
const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json'
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar'
const TAR_BLOCK_BYTES = 512
const CHUNK_BYTES = 256 * 1024
const MAX_GZIP_BYTES = 64 * 1024 * 1024

/** Makes the image: one pass over each layer to know its digest. */
export function createImage(options: ImageOptions): Image {
  const tars = options.layerBytes.map((bytes, index) => createTar(`${options.seed}/${index}`, `layer-${index}.bin`, bytes))
  const layers = options.gzip === true ? tars.map(compress) : tars
  const config = jsonBlob(CONFIG_TYPE, {
    created: '2026-01-01T00:00:00Z',
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/layer-0.bin'] },
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => String(tar.digest)) },
    history: tars.map((_, index) => ({ created: '2026-01-01T00:00:00Z', created_by: `layer ${index} of ${options.seed}` })),
  })
  const manifest = jsonBlob(MANIFEST_TYPE, {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: descriptor(config),
    layers: layers.map(descriptor),
  })
  const blobs = new Map([config, ...layers].map((blob) => [String(blob.digest), blob]))
  return { manifest, config, layers, blobs }
}

/** A blob of bytes that are at hand. */
export function createBlob(bytes: Uint8Array, mediaType = 'application/octet-stream'): ImageBlob {
  return {
    digest: digestOf(bytes),
    size: bytes.length,
    mediaType,
    *read(start = 0, end = bytes.length) {
      for (let at = start; at < end; at += CHUNK_BYTES) yield bytes.subarray(at, Math.min(at + CHUNK_BYTES, end))
    },
  }
}

/** A blob of random-looking bytes of this size, made as it is read. */
export function createRandomBlob(seed: string, size: number): ImageBlob {
  return hashed('application/octet-stream', size, (start, end) => randomBytesAt(seed, start, end))
}

/** Writes an OCI layout directory, for `skopeo copy oci:DIR:TAG docker://…`. */
export async function writeOciLayout(image: Image, dir: string, tag = 'latest'): Promise<void> {
  await mkdir(join(dir, 'blobs', 'sha256'), { recursive: true })
  for (const blob of [image.manifest, ...image.blobs.values()])
    await pipeline(blob.read(), createWriteStream(join(dir, 'blobs', 'sha256', blob.digest.hex)))
  const entry = { ...descriptor(image.manifest), annotations: { 'org.opencontainers.image.ref.name': tag } }
  await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }))
  await writeFile(join(dir, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
}

function descriptor(blob: ImageBlob) {
  return { mediaType: blob.mediaType, digest: String(blob.digest), size: blob.size }
}

function jsonBlob(mediaType: string, value: unknown): ImageBlob {
  return createBlob(Buffer.from(JSON.stringify(value)), mediaType)
}

function compress(tar: ImageBlob): ImageBlob {
  if (tar.size > MAX_GZIP_BYTES) throw new TypeError(`a layer of ${tar.size} bytes is too large to gzip in memory`)
  return createBlob(gzipSync(Buffer.concat([...tar.read()]), { level: 1 }), `${LAYER_TYPE}+gzip`)
}

/** A tar archive with one file of random bytes. */
function createTar(seed: string, name: string, fileBytes: number): ImageBlob {
  const header = tarHeader(name, fileBytes)
  const padding = new Uint8Array(((TAR_BLOCK_BYTES - (fileBytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES) + 2 * TAR_BLOCK_BYTES)
  const bodyEnd = header.length + fileBytes
  return hashed(LAYER_TYPE, bodyEnd + padding.length, function* (start, end) {
    if (start < header.length) yield header.subarray(start, end)
    const from = Math.max(start - header.length, 0)
    const to = Math.min(end, bodyEnd) - header.length
    if (from < to) yield* randomBytesAt(seed, from, to)
    if (end > bodyEnd) yield padding.subarray(Math.max(start - bodyEnd, 0), end - bodyEnd)
  })
}

function hashed(mediaType: string, size: number, read: (start: number, end: number) => Iterable<Uint8Array>): ImageBlob {
  const sha256 = createHash('sha256')
  for (const chunk of read(0, size)) sha256.update(chunk)
  const digest = new Digest('sha256', sha256.digest('hex'))
  return { digest, size, mediaType, read: (start = 0, end = size) => read(start, end) }
}

/** The AES-CTR key stream of the seed: random to look at, and any offset of it can be made at once. */
function* randomBytesAt(seed: string, start: number, end: number): Iterable<Uint8Array> {
  const key = Buffer.from(hash('sha256', seed, 'hex'), 'hex').subarray(0, 16)
  const counter = Buffer.alloc(16)
  counter.writeBigUInt64BE(BigInt(Math.floor(start / 16)), 8)
  const cipher = createCipheriv('aes-128-ctr', key, counter)
  cipher.update(new Uint8Array(start % 16))
  const zeros = new Uint8Array(Math.min(CHUNK_BYTES, end - start))
  for (let at = start; at < end; at += zeros.length) yield cipher.update(zeros.subarray(0, end - at))
}

/** A ustar header (POSIX.1-1988) of a regular file. */
function tarHeader(name: string, fileBytes: number): Uint8Array {
  const header = Buffer.alloc(TAR_BLOCK_BYTES)
  header.write(name, 0)
  header.write('0000644\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  header.write(`${fileBytes.toString(8).padStart(11, '0')}\0`, 124)
  header.write('00000000000\0', 136)
  header.write('        ', 148)
  header.write('0', 156)
  header.write('ustar\x0000', 257)
  const checksum = header.reduce((sum, byte) => sum + byte, 0)
  header.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148)
  return header
}
