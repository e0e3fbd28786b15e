import { createHash, createPrivateKey, createPublicKey, randomBytes } from 'node:crypto'
import { link, mkdir, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { privateKeyFromProtobuf, privateKeyFromRaw, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { ShoalError } from '../errors.ts'

/** Who this node is: an Ed25519 key, whose public half is the peer id. */
export interface Identity {
  /** Base58 text. */
  readonly peerId: string
  readonly privateKey: Ed25519PrivateKey
}

const SEED_BYTES = 32
/** RFC 8410: the DER that comes before an Ed25519 seed. */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')
/** A key file is 68 bytes; more than this is something else. */
const MAX_KEY_FILE_BYTES = 1024
const SIGNATURE_BYTES = 64

/** A new identity that lives in memory. @param name the same name gives the same identity: for tests only */
export function createIdentity(name?: string): Identity {
  const seed = name === undefined ? randomBytes(SEED_BYTES) : createHash('sha256').update(name).digest()
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), type: 'pkcs8', format: 'der' })
  const publicKey = Buffer.from(createPublicKey(key).export({ format: 'jwk' }).x ?? '', 'base64url')
  return identityOf(privateKeyFromRaw(Buffer.concat([seed, publicKey])) as Ed25519PrivateKey)
}

/**
 * The identity kept at `path`, created there (mode 0600) when the file is missing.
 * @throws ShoalError CONFIG_INVALID when it is malformed, or when others may read it
 */
export async function loadIdentity(path: string): Promise<Identity> {
  const kept = await readIdentity(path)
  if (kept !== undefined) return kept
  const created = createIdentity()
  const mine = await writeOnce(path, privateKeyToProtobuf(created.privateKey))
  if (mine) return created
  const other = await readIdentity(path)
  if (other === undefined) throw new ShoalError('CONFIG_INVALID', `identity file ${path} appeared and went away again`)
  return other
}

export async function sign(identity: Identity, bytes: Uint8Array): Promise<Uint8Array> {
  return await identity.privateKey.sign(bytes)
}

/** Whether the key behind `peerId` made `signature` over `bytes`; false for anything malformed. */
export async function verify(peerId: string, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
  if (signature.byteLength !== SIGNATURE_BYTES) return false
  try {
    const id = peerIdFromString(peerId)
    return id.type === 'Ed25519' && (await id.publicKey.verify(bytes, signature))
  } catch {
    return false
  }
}

function identityOf(privateKey: Ed25519PrivateKey): Identity {
  return Object.freeze({ peerId: peerIdFromPrivateKey(privateKey).toString(), privateKey })
}

async function readIdentity(path: string): Promise<Identity | undefined> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw new ShoalError('CONFIG_INVALID', `identity file ${path} cannot be read`, { cause: error })
  })
  if (file === undefined) return undefined
  try {
    const { mode, size } = await file.stat()
    if ((mode & 0o077) !== 0) {
      throw new ShoalError('CONFIG_INVALID', `identity file ${path} is open to other users; chmod it to 0600`)
    }
    if (size > MAX_KEY_FILE_BYTES) throw new ShoalError('CONFIG_INVALID', `identity file ${path} is not a private key`)
    return parseKey(path, await file.readFile())
  } finally {
    await file.close()
  }
}

function parseKey(path: string, bytes: Uint8Array): Identity {
  try {
    const key = privateKeyFromProtobuf(bytes)
    if (key.type === 'Ed25519') return identityOf(key)
  } catch (cause) {
    throw new ShoalError('CONFIG_INVALID', `identity file ${path} is not a private key`, { cause })
  }
  throw new ShoalError('CONFIG_INVALID', `identity file ${path} holds a key that is not Ed25519`)
}

/** Whole and on disk, or not there: a temporary name, then a link that fails when somebody else was first. */
async function writeOnce(path: string, bytes: Uint8Array): Promise<boolean> {
  await mkdir(dirname(path), { recursive: true })
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
    await file.close()
    await link(temporary, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    await file.close().catch(() => {})
    await unlink(temporary)
  }
}
