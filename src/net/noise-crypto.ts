import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
} from 'node:crypto'
import { type ICryptoInterface, type KeyPair, pureJsCrypto } from '@libp2p/noise'
import { Uint8ArrayList } from 'uint8arraylist'

type Bytes = Uint8Array | Uint8ArrayList

const CIPHER = 'chacha20-poly1305'
const TAG = { authTagLength: 16 } as const
/** RFC 8410: the DER that comes before an X25519 key. */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')
const SPKI = Buffer.from('302a300506032b656e032100', 'hex')

/**
 * Noise's primitives, all of them OpenSSL's. The stock ones take a frame apart at the edges of socket reads again after
 * Noise has already joined it in `dst`; here that copy is used, so a frame is deciphered in one go into one chunk.
 */
export const NOISE_CRYPTO: ICryptoInterface = Object.freeze({
  ...pureJsCrypto,
  hashSHA256: (data: Bytes) => createHash('sha256').update(data.subarray()).digest(),

  chaCha20Poly1305Encrypt: (plaintext: Bytes, nonce: Uint8Array, ad: Uint8Array, key: Uint8Array) => {
    const cipher = createCipheriv(CIPHER, key, nonce, TAG).setAAD(ad, { plaintextLength: plaintext.byteLength })
    const output = new Uint8ArrayList()
    for (const part of plaintext instanceof Uint8Array ? [plaintext] : plaintext) output.append(cipher.update(part))
    cipher.final()
    output.append(cipher.getAuthTag())
    return output
  },

  chaCha20Poly1305Decrypt: (ciphertext: Bytes, nonce: Uint8Array, ad: Uint8Array, key: Uint8Array, dst?: Uint8Array) => {
    const length = ciphertext.byteLength - TAG.authTagLength
    const text = dst?.byteLength === length ? dst : ciphertext.subarray(0, length)
    const decipher = createDecipheriv(CIPHER, key, nonce, TAG).setAAD(ad, { plaintextLength: length })
    decipher.setAuthTag(ciphertext.subarray(length))
    const plaintext = decipher.update(text)
    decipher.final()
    return plaintext
  },

  generateX25519KeyPair: () => {
    const { privateKey } = generateKeyPairSync('x25519')
    return keyPair(privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(PKCS8.byteLength))
  },
  generateX25519KeyPairFromSeed: keyPair,

  generateX25519SharedKey: (privateKey: Bytes, publicKey: Bytes) =>
    diffieHellman({ privateKey: importPrivate(privateKey), publicKey: importPublic(publicKey) }),
})

function keyPair(seed: Uint8Array): KeyPair {
  const publicKey = createPublicKey(importPrivate(seed)).export({ type: 'spki', format: 'der' })
  return { privateKey: seed, publicKey: publicKey.subarray(SPKI.byteLength) }
}

function importPrivate(key: Bytes) {
  return createPrivateKey({ key: Buffer.concat([PKCS8, key.subarray()]), type: 'pkcs8', format: 'der' })
}

function importPublic(key: Bytes) {
  return createPublicKey({ key: Buffer.concat([SPKI, key.subarray()]), type: 'spki', format: 'der' })
}
