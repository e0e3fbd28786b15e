import assert from 'node:assert/strict'
import { it } from 'node:test'
import { type ICryptoInterface, pureJsCrypto } from '@libp2p/noise'
import { Uint8ArrayList } from 'uint8arraylist'
import { NOISE_CRYPTO } from '../../src/net/noise-crypto.ts'
import { pattern } from '../conformance/host.ts'

const key = pattern(32)
const nonce = pattern(12)
const ad = new Uint8Array(0)

it('enciphers as the reference does, and reads what the reference has enciphered', () => {
  for (const length of [0, 1, 28, 1199, 1200, 65_519]) {
    const plain = pattern(length)
    for (const input of [plain, new Uint8ArrayList(plain.subarray(0, 12), plain.subarray(12))]) {
      const theirs = pureJsCrypto.chaCha20Poly1305Encrypt(plain, nonce, ad, key).subarray()
      assert.deepEqual(Buffer.from(NOISE_CRYPTO.chaCha20Poly1305Encrypt(input, nonce, ad, key).subarray()), Buffer.from(theirs))
      for (const [cipher, dst] of framesOf(theirs)) {
        const got = NOISE_CRYPTO.chaCha20Poly1305Decrypt(cipher, nonce, ad, key, dst)
        assert.deepEqual(Buffer.from(got.subarray()), plain)
      }
    }
  }
})

it('refuses a frame of which one bit differs', () => {
  const frame = Buffer.from(NOISE_CRYPTO.chaCha20Poly1305Encrypt(pattern(2000), nonce, ad, key).subarray())
  for (const at of [0, 1000, 1999, 2000, 2015]) {
    const bad = Buffer.from(frame)
    bad[at] = (bad[at] as number) ^ 1
    for (const [cipher, dst] of framesOf(bad)) {
      assert.throws(() => NOISE_CRYPTO.chaCha20Poly1305Decrypt(cipher, nonce, ad, key, dst))
    }
  }
})

it('agrees with the reference on keys, hashes and derived keys', () => {
  const agree = (mine: ICryptoInterface, other: ICryptoInterface) => {
    const [a, b] = [mine.generateX25519KeyPair(), other.generateX25519KeyPair()]
    const here = mine.generateX25519SharedKey(a.privateKey, b.publicKey).subarray()
    const there = other.generateX25519SharedKey(new Uint8ArrayList(b.privateKey.subarray()), a.publicKey).subarray()
    assert.deepEqual(Buffer.from(here), Buffer.from(there))
    const again = mine.generateX25519KeyPairFromSeed(b.privateKey.subarray())
    assert.deepEqual(Buffer.from(again.publicKey.subarray()), Buffer.from(b.publicKey.subarray()))
  }
  agree(NOISE_CRYPTO, pureJsCrypto)
  agree(pureJsCrypto, NOISE_CRYPTO)
  const data = pattern(100)
  const hash = (crypto: ICryptoInterface) =>
    Buffer.from(crypto.hashSHA256(new Uint8ArrayList(data.subarray(0, 3), data.subarray(3))))
  assert.deepEqual(hash(NOISE_CRYPTO), hash(pureJsCrypto))
  assert.throws(() => NOISE_CRYPTO.generateX25519SharedKey(key, new Uint8Array(32)), 'a point of low order')
})

/** A frame as it may come: in one part or in several, with or without room to decipher into. */
function framesOf(frame: Uint8Array): [Uint8Array | Uint8ArrayList, Uint8Array | undefined][] {
  const list = new Uint8ArrayList(frame.subarray(0, 5), frame.subarray(5))
  return [
    [frame, undefined],
    [frame, frame.subarray(0, -16)],
    [list, undefined],
    [list, list.subarray(0, list.byteLength - 16)],
  ]
}
