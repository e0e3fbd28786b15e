import assert from 'node:assert/strict'
import { chmod, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { it } from 'node:test'
import { generateKeyPair, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { createIdentity, loadIdentity } from '../../src/net/identity.ts'
import { withCode } from '../conformance/host.ts'
import { tmp } from '../helpers/tmp.ts'

it('makes an identity file that only its owner may read, and finds the same identity in it again', async (t) => {
  const dir = join(await tmp(t), 'not', 'there', 'yet')
  const path = join(dir, 'identity.key')
  const made = await loadIdentity(path)
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(dir), ['identity.key'])
  assert.equal((await loadIdentity(path)).peerId, made.peerId)
})

it('gives all who start at once the same identity', async (t) => {
  const path = join(await tmp(t), 'identity.key')
  const made = await Promise.all(Array.from({ length: 8 }, () => loadIdentity(path)))
  assert.equal(new Set(made.map(({ peerId }) => peerId)).size, 1)
})

it('refuses a file that others may read', async (t) => {
  const path = join(await tmp(t), 'identity.key')
  await loadIdentity(path)
  await chmod(path, 0o640)
  await assert.rejects(loadIdentity(path), withCode('CONFIG_INVALID'))
})

it('refuses what is not an Ed25519 private key', async (t) => {
  const path = join(await tmp(t), 'identity.key')
  const other = privateKeyToProtobuf(await generateKeyPair('secp256k1'))
  const good = privateKeyToProtobuf(createIdentity().privateKey)
  const bad = [
    new Uint8Array(0),
    Buffer.from('not a key'),
    new Uint8Array(68),
    good.subarray(1),
    good.subarray(0, 40),
    new Uint8Array(5000),
    other,
  ]
  for (const bytes of bad) {
    await writeFile(path, bytes, { mode: 0o600 })
    await assert.rejects(loadIdentity(path), withCode('CONFIG_INVALID'))
  }
  await assert.rejects(loadIdentity(await tmp(t)), withCode('CONFIG_INVALID'))
})

it('makes identities that differ, unless they are given a name', () => {
  assert.notEqual(createIdentity().peerId, createIdentity().peerId)
  assert.equal(createIdentity('a').peerId, createIdentity('a').peerId)
})
